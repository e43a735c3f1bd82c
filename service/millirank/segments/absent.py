"""Queries without a good answer: words that nobody wrote, and things that the shop does not sell."""

from random import Random

from millirank.evaluation.words import normal, terms

from .texts import Texts, words

# What large shops of many trades sell. Kept are those whose last word, the thing itself, no text of the catalogue has.
THINGS = (
    "wedding dress, garden hose, cat litter, dog leash, baby stroller, yoga mat, electric guitar, violin strings, "
    "motor oil, winter tires, car seat cover, lawn mower, hedge trimmer, chainsaw, wheelbarrow, potting soil, tulip "
    "bulbs, bird feeder, aquarium gravel, hamster cage, horse saddle, fishing rod, fishing lures, kayak paddle, "
    "surfboard, wetsuit, ski goggles, snowboard bindings, ice skates, hockey stick, tennis racket, golf balls, "
    "basketball hoop, dumbbells, treadmill, boxing gloves, climbing harness, camping hammock, sleeping bag, bicycle "
    "pump, roller skates, skateboard, swimming trunks, bikini, sunglasses, wristwatch strap, pearl necklace, diamond "
    "earrings, engagement ring, leather belt, silk scarf, wool sweater, denim skirt, rain poncho, rubber boots, high "
    "heels, ballet slippers, sandals, pyjamas, bath towel, shower curtain, toilet brush, soap dispenser, shampoo, "
    "toothpaste, lipstick, mascara, perfume, sunscreen, hand lotion, nail scissors, tweezers, vitamins, protein "
    "powder, cough syrup, bandages, thermometer strips, crutches, wheelchair, olive oil, balsamic vinegar, oatmeal, "
    "pancake mix, maple syrup, peanut butter, strawberry jam, honey, dried apricots, pistachios, spaghetti, basmati "
    "rice, tomato ketchup, mustard, soy sauce, orange juice, red wine, whiskey, rolling pin, wok, casserole, cutlery, "
    "chopsticks, tablecloth, candlestick, fireplace poker, oriental rug, bookshelf, wardrobe, mattress, pillowcase, "
    "duvet, bunk bed, rocking chair, chandelier, doorbell chime, wallpaper, ceramic tiles, plywood, cement, roofing "
    "nails, plumbing wrench, bathtub, faucet, radiator valve, chimney cowl, ladder, crossword book, cookbook, poetry "
    "anthology, birthday balloons, christmas wreath, easter eggs, halloween costume, jigsaw, teddy bear, rattle, "
    "crib, pacifier, diapers, trampoline, sandpit, seesaw, trombone, harmonica, drumsticks, ukulele, accordion, "
    "easel, watercolours, knitting needles, crochet hook, embroidery thread, sewing thimble, hatchet, machete, "
    "crossbow, binocular harness, tent pegs, compost bin, beehive, greenhouse, sprinkler, fertilizer"
)
_ONSETS = words("b d f g k l m n p r s t v z br dr fl gr kl pl sk st tr")
_VOWELS, _CODAS = "aeiou", "bdgklmnprtxz"


def absent(texts: Texts, count: int, rng: Random) -> list[str]:
    """So many queries that no product answers: half of them things, where the shop sells few enough of them."""
    known = {term for word in texts.vocabulary for term in terms(word)}
    things = [thing for thing in THINGS.split(", ") if normal(thing).split(" ")[-1] not in known]
    found = dict.fromkeys(sorted(rng.sample(things, min(len(things), count // 2))))
    while len(found) < count:
        made = " ".join(_word(rng) for _ in range(rng.randint(1, 2)))
        if not known.intersection(terms(made)):
            found[made] = None
    return list(found)


def _word(rng: Random) -> str:
    return "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.randint(2, 3))) + rng.choice(_CODAS)
