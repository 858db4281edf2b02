"""Words that the tasks with free answers draw from."""

from __future__ import annotations

KINDS: dict[str, tuple[str, ...]] = {
    "animals": tuple(
        "cat dog cow pig hen duck goat horse sheep lion tiger bear wolf fox deer mouse rat frog toad snake owl crow "
        "swan goose eagle shark whale seal crab ant bee fly moth spider snail worm mole bat monkey zebra camel".split()
    ),
    "fruits": tuple(
        "apple pear plum peach cherry grape lemon lime orange mango melon banana kiwi fig date berry apricot "
        "papaya coconut guava olive quince currant raspberry strawberry pineapple".split()
    ),
    "colours": tuple(
        "red blue green yellow black white brown pink purple orange grey gold silver violet navy teal "
        "cream ruby amber ivory scarlet lilac".split()
    ),
    "names": tuple(
        "Lily Tom Anna Ben Mia Sam Lucy Max Sara Tim Emma Jack Ella Leo Nina Paul Rose Fred Jane Bob Amy Dan Kate Joe "
        "Mary Sue Will Zoe Ian Eva Hugo Ruth Adam Nora Otto Vera".split()
    ),
    "foods": tuple(
        "bread cheese rice soup cake pie egg fish milk tea honey butter salad pizza pasta beans corn nuts "
        "toast jam ham stew sugar salt pepper cookie".split()
    ),
    "things": tuple(
        "ball box book cup hat key lamp bed chair table door bag pen shoe coat ring doll kite drum bell rope "
        "clock spoon fork plate knife brush broom bucket ladder".split()
    ),
}

CITIES = tuple("Paris Rome Oslo Cairo Lima Delhi Tokyo Berlin Madrid Dublin Vienna Prague Athens Boston Quito".split())
