"""How each model of the ablations was trained: what `millirank train` was told, otherwise than for `base`."""

TRIED = "at commit feeaa01, the options went afterwards: "
WEAK = f"{TRIED}--epochs 0 --init base --candidates 48"
STUDENT = "--init base --teacher base=2 --mined-weight 0"
TEACHERS = ("base", "base14", "nohard", "nowords", "nobm25")
ENSEMBLE = f"--init base {' '.join(f'--teacher {name}=0.4' for name in TEACHERS)} --mined-weight 0"
MPNET = "sentence-transformers/all-mpnet-base-v2"
BOTH = f"--mix dense=0.5,bm25=0.5,rule=1.5 --teacher {MPNET}=0.5"  # two sentence encoders share dense's part
LARGE = f"{BOTH} --init {MPNET} --lr 5e-5"
RECIPES = {
    "asmined": "--mix dense=1,bm25=1.5,rule=1.5",
    "nobm25": "--mix dense=1,bm25=0,rule=1.5",
    "norules": "--mix dense=1,bm25=0.5,rule=0",
    "rules3": "--mix dense=1,bm25=0.5,rule=3",
    "nohard": "--right 0 --wrong 0, no products by rule: neither right ones nor those that only look so",
    "words": "--kinds words --mix dense=1,bm25=1.5,rule=0, title n-grams alone: the recipe before",
    "words05": "--kinds words --mix dense=1,bm25=0.5,rule=0",
    "nomodel": "all --kinds but model",
    "nomisspelt": "all --kinds but misspelt",
    "nowords": "all --kinds but words",
    "round2": "--teacher base=1, a second round beside the mined scores",
    "epochs6": "--epochs 6",
    "base14": "--work base.work --seed 14: the same lists, other draws",
    "long": "--fields with category and four attributes, --product-tokens 32,48,64, served with 48",
    "s3": f"{STUDENT} --layers 3 --epochs 4",
    "s2": f"{STUDENT} --layers 2 --epochs 4",
    "three": f"{STUDENT} --layers 3 --epochs 6",
    "two": f"{STUDENT} --layers 2 --epochs 6",
    "ens6": f"{ENSEMBLE} --epochs 6",
    "ens3": f"{ENSEMBLE} --layers 3 --epochs 6",
    "mp6": BOTH,
    "mp6x": f"{BOTH} --epochs 6",
    "mpl6": f"as `long`, {BOTH}",
    "big": LARGE,
    "bigl": f"as `long`, {LARGE}",
    "threemp": "--init mp6x --teacher mp6x=2 --mined-weight 0 --layers 3 --epochs 6",
    "threebig": "--init mp6x --teacher big=1 --teacher mp6x=1 --mined-weight 0 --layers 3 --epochs 6",
    "threel": "as `long`, --init mpl6 --teacher bigl=1 --teacher mpl6=1 --mined-weight 0 --layers 3 --epochs 6",
    "sixl": "as `long`, --init mpl6 --teacher bigl=1 --teacher mpl6=1 --mined-weight 0",
}
FOLDED = {
    "cvA": "--judged-epochs 2 --judged-lr 2e-5 --epochs 0 --init base",
    "cvB": "--judged-epochs 4 --judged-lr 5e-5 --epochs 0 --init base",
    "cvC": "--judged-epochs 8 --judged-lr 5e-5 --epochs 0 --init base",
    "cvD": "--judged-epochs 4 --judged-lr 1e-4 --epochs 0 --init base",
    "cvT": "--judged-epochs 4 --judged-lr 5e-5 --epochs 0 --init three",
    "wA": f"{WEAK} --unjudged 50 --unjudged-grade -1 --judged-epochs 4 --judged-lr 3e-5 --judged-sharpness 1.5",
    "wB": f"{WEAK} --unjudged 50 --unjudged-grade 0 --judged-epochs 4 --judged-lr 5e-5 --judged-sharpness 2",
    "wC": f"{WEAK} --unjudged 50 --unjudged-grade -1 --judged-epochs 2 --judged-lr 2e-5 --judged-sharpness 1",
    "wD": f"{WEAK} --judged-epochs 4 --judged-lr 3e-5 --judged-sharpness 2",
    "wT": "as wA, --init three",
    "wE": "as wA, --init ens3",
    "wF": "as wA, --init ens6",
    "cvH": "--judged-epochs 4 --judged-lr 2e-5 --epochs 0 --init bigl, with its --fields and tokens",
    "cvL": "--judged-epochs 2 --judged-lr 2e-5 --epochs 0 --init sixl, with its --fields and tokens",
    "halfp": "as cvA in halves, --folds 2",
    "halfq": "as wC in halves, --folds 2",
}
