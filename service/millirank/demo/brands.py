"""Who makes what: invented brands, each at home in a few groups, and the words their models are named with."""

MAKERS: dict[str, tuple[str, ...]] = {
    group: tuple(names.split(", "))
    for group, names in {
        "phones": "Nuvo, Telqira, Ombrix, Pellarion",
        "cases": "Gripfolk, Armadel, Coverlane",
        "power": "Voltane, Chargewick, Amperly",
        "audio": "Sonavel, Audiren, Hushwell, Brontone",
        "tv": "Visorra, Lumidane, Halvora",
        "photo": "Fotarn, Ishikara, Claruvo",
        "watches": "Nuvo, Tempiko, Pulsarin",
        "computers": "Kaldrix, Orvanta, Tessora",
        "desk": "Clickmere, Tapwright, Kaldrix",
        "printers": "Dokuma, Scrivane, Printora",
        "refills": "Refillo, Tonerly",
        "network": "Netharbour, Wavelode",
        "storage": "Datakeel, Memorine",
        "furniture": "Hollverk, Marlund, Tveldt, Ashcombe",
        "sleep": "Slumberley, Drowsett, Lindelle",
        "decor": "Wickfold, Weftly, Lindelle",
        "floorcare": "Sweeva, Dustrel, Kolvac, Airenne",
        "appliances": "Brewden, Torvik, Mixelle, Kesselby",
        "cookware": "Panforge, Kuchenrad, Stovelle",
        "drinks": "Thermova, Flaskeby, Siplow",
        "fashion": "Marrowby, Bellamere, Casterley, Lunethread",
        "outdoor": "Tarnfell, Fjellgard, Moorline",
        "shoes": "Stridewell, Velopace, Kickaro, Fellstep",
        "camping": "Tarnfell, Campholt, Nomadry",
        "bikes": "Spokeling, Velorane, Tretwerk",
        "fitness": "Ironpine, Flexora, Corewick",
        "games": "Goalwright, Racquetta, Pitchmoor",
        "garden": "Grunhof, Hedgerley, Rootwell",
        "tools": "Hammerlund, Borevik, Drillon",
        "grills": "Emberstead, Smokefell, Grunhof",
        "toys": "Tumbletree, Plumbear, Bricksy",
        "tabletop": "Puzzlewick, Ravenhall, Oddfox",
        "vehicles": "Zipkart, Tumbletree, Turbolino",
    }.items()
}

# 0 is cheap, 1 is dear; a brand that is not here stands in the middle
TIER: dict[str, float] = {
    "Pellarion": 0.95, "Ombrix": 0.15, "Hushwell": 0.9, "Brontone": 0.2, "Halvora": 0.15, "Lumidane": 0.85,
    "Claruvo": 0.25, "Ishikara": 0.85, "Tessora": 0.9, "Kaldrix": 0.45, "Orvanta": 0.2, "Tonerly": 0.1,
    "Refillo": 0.15, "Armadel": 0.8, "Coverlane": 0.2, "Amperly": 0.2, "Tveldt": 0.85, "Marlund": 0.25,
    "Lindelle": 0.75, "Drowsett": 0.2, "Weftly": 0.35, "Sweeva": 0.85, "Kolvac": 0.2, "Kesselby": 0.8,
    "Mixelle": 0.25, "Panforge": 0.8, "Stovelle": 0.2, "Siplow": 0.2, "Lunethread": 0.85, "Casterley": 0.25,
    "Fjellgard": 0.9, "Moorline": 0.2, "Velopace": 0.8, "Kickaro": 0.25, "Nomadry": 0.2, "Velorane": 0.85,
    "Spokeling": 0.3, "Ironpine": 0.7, "Corewick": 0.2, "Rootwell": 0.2, "Hammerlund": 0.85, "Drillon": 0.2,
    "Emberstead": 0.8, "Ravenhall": 0.7, "Turbolino": 0.2, "Tempiko": 0.25, "Pulsarin": 0.8, "Voltane": 0.7,
}  # fmt: skip

# the letters a brand's model numbers start with
LETTERS: dict[str, str] = {
    "Nuvo": "P", "Telqira": "T", "Ombrix": "X", "Pellarion": "A", "Tempiko": "K", "Pulsarin": "R",
    "Kaldrix": "KX", "Orvanta": "OV", "Tessora": "TS", "Dokuma": "DK", "Scrivane": "SV", "Printora": "PR",
    "Sonavel": "SN", "Audiren": "AR", "Hushwell": "HW", "Brontone": "BT", "Visorra": "VZ", "Lumidane": "LD",
    "Halvora": "HV", "Fotarn": "FT", "Ishikara": "IK", "Claruvo": "CV", "Sweeva": "SW", "Dustrel": "DU",
    "Kolvac": "KV", "Airenne": "AE", "Brewden": "BW", "Torvik": "TV", "Mixelle": "MX", "Kesselby": "KB",
    "Hammerlund": "HL", "Borevik": "BV", "Drillon": "DR", "Grunhof": "GH", "Hedgerley": "HG",
}  # fmt: skip

NAMES: dict[str, tuple[str, ...]] = {
    group: tuple(names.split(", "))
    for group, names in {
        "outdoor": (
            "Ridgeway, Corrie, Scarp, Tarnside, Glenmoor, Highfold, Skyline, Kettlewell, Stonebeck, Larkrise, "
            "Windermoor, Ravenscar, Birkrigg, Fellside, Coldedge, Drystone, Saddleback, Heathery, Whinfell, "
            "Longmynd, Brackendale, Stormlea"
        ),
        "home": (
            "Haldon, Wexcombe, Linford, Ashby, Marlow, Calder, Thornby, Elstead, Farrow, Brindle, Selwyn, Quenby, "
            "Oakley, Harrow, Winslow, Denholm, Tilbury, Averley, Norwood, Somerby, Pendle, Rushmere, Bexley, "
            "Fenwick"
        ),
        "fashion": (
            "Ivy, Clara, Hazel, Juno, Margot, Esme, Nell, Orla, Rowan, Felix, Otto, Hugo, Arlo, Theo, Ellis, "
            "Remy, Quinn, Bryn, Marnie, Sorrel, Willa, Jasper"
        ),
        "play": (
            "Pip, Biscuit, Pippa, Bramble, Waffle, Pebble, Noodle, Tuppence, Acorn, Juniper, Muffin, Clover, "
            "Pickle, Marble, Otter, Barnaby, Dottie, Mango, Truffle, Comet"
        ),
    }.items()
}
