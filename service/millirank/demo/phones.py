"""Phones, watches and what belongs to them."""

TABLE = """
== Smartphones | Electronics > Phones | phones | 64 | 139-849 | short
title {brand} {model} {network} Smartphone {storage} {screen} {panel} Dual SIM {Colour}
title {brand} {model} {network} Mobile Phone, {storage} Storage, {camera} Camera, {Colour}
title {brand} {model} Smartphone {screen} {panel} {storage} {battery} {Colour}
line screen: 5.9 inch | 6.1 inch | 6.4 inch *1.05 | 6.7 inch *1.15
line panel: LCD *0.85 | OLED | AMOLED *1.1
line network: 5G | 5G | 4G *0.75
line camera: 48 MP | 50 MP | 64 MP *1.05 | 108 MP *1.2
line battery: 4000 mAh | 4500 mAh | 5000 mAh | 5500 mAh *1.05
each storage: 64 GB *0.85 | 128 GB | 256 GB *1.12 | 512 GB *1.3
each colour: black | graphite | blue | mint green | silver | lavender
lead The {model} puts a {screen} {panel} display and a {camera} main camera into a slim {colour} body.
lead A handset made for long days: {battery} of battery and {storage} for photos, apps and offline maps.
lead Calls, pictures and {network} data in one pocketable cellphone with {storage} of memory.
lead {brand} built this mobile around its {camera} camera, with night mode and optical stabilisation.
say Two SIM cards fit at once, so work and private numbers stay apart.
say [battery=5000 mAh] The battery easily carries a full day of video calls before it wants the charger.
say [network=4G] It runs on 4G networks and keeps the headphone socket.
say [panel=AMOLED] Deep blacks and bright highlights make films a pleasure even in sunlight.
say Fingerprint reader under the glass, face unlock, and four years of security updates.
say The frame is aluminium and the box holds a USB-C cable but no charger.

== Phone Cases | Electronics > Phone Accessories | own cases cases | 120 | 9-34 | none
fits Smartphones
title {brand} {style} Case for {fits} {Material} {Colour}
title {brand} {Material} Phone Case Compatible with {fits}, {Style}, {Colour}
title {brand} {fits} Case {Style} {Material} Cover {Colour}
line style: slim | shockproof *1.3 | wallet *1.4 | clear *0.8
line material: silicone | TPU *0.8 | vegan leather *1.4 | recycled plastic
each colour: black | navy | red | transparent | sage green | pink
lead Cut to the millimetre for the {fits}: every button, port and lens stays within reach.
lead A {style} shell of {material} that keeps scratches and knocks away from your {fits}.
lead Made for the {fits} only, this cover snaps on in a second and wipes clean.
say [style=wallet] Three card slots and a folded note pocket let you leave the purse at home.
say [style=shockproof] Air cushions in the corners survive drops from two metres onto concrete.
say [style=clear] The see-through back shows the phone's own colour and does not turn yellow.
say Raised edges hold the screen and the camera off the table.
say Wireless charging works through it. The phone itself is not included.

== Screen Protectors | Electronics > Phone Accessories | cases | 64 | 7-24 | none
fits Smartphones, screen
title {brand} {Finish} Screen Protector for {fits} {screen} {pack} Pack
title {brand} {fits} Tempered Glass Screen Protector {Finish}, {pack}-Pack with Frame
line finish: crystal clear | privacy *1.4 | matt *1.1 | anti blue light *1.2
each pack: 1 *0.7 | 2 | 3 *1.3
lead Hardened glass of 0.3 mm guards the {screen} display of the {fits} from keys and coins.
lead Stick it on with the alignment frame and forget it: protection for the {fits} without bubbles.
say [finish=privacy] From the side the screen looks dark, so neighbours on the train see nothing.
say [finish=matt] The etched surface takes away glare and fingerprints.
say Touch and fingerprint reader respond as before. Pack content: {pack}.
say Rounded edges leave room for most cases.

== Phone Chargers | Electronics > Phone Accessories | power | 44 | 11-59 | code
title {brand} {model} USB-C Charger {power} {ports}-Port Wall Plug {Colour}
title {brand} {model} {power} Fast Charger with {ports} USB-C Ports for Phones and Tablets, {Colour}
line power: 20 W *0.7 | 30 W | 45 W *1.2 | 65 W *1.5
line ports: 1 | 2 *1.2 | 3 *1.4
each colour: white | black
lead A wall adapter of {power} that fills a phone to half in about thirty minutes.
lead Gallium nitride inside keeps this {power} power adapter small and cool.
say [ports=1] One device at a time, at full speed.
say [ports=3] Three sockets share the power between telephone, tablet and earbuds.
say Folding pins make it easy to pack. Cable sold separately.
say Guards against overheating, overcurrent and short circuits.
say [power=65 W] Strong enough for most notebooks too.

== Power Banks | Electronics > Phone Accessories | power | 44 | 17-79 | code
title {brand} {model} Power Bank {capacity} {power} USB-C {Colour}
title {brand} {model} Portable Charger {capacity} with {power} Fast Charging, {Colour}
line capacity: 5000 mAh *0.7 | 10000 mAh | 20000 mAh *1.5 | 26800 mAh *1.8
line power: 15 W | 22.5 W *1.1 | 45 W *1.4
each colour: black | white | navy | sage green
lead Spare energy for the road: {capacity} in a housing with rounded corners.
lead An external battery that tops up your phone wherever there is no socket.
say [capacity=5000 mAh] Small enough for a trouser pocket, it recharges most phones once.
say [capacity=20000 mAh] It charges a typical phone four times and may travel in hand luggage.
say Four lights show how much is left.
say Output reaches {power} through USB-C, and a second device can share through USB-A.
say It refills overnight with any USB-C plug.

== Smartwatches | Electronics > Wearables | watches | 44 | 79-379 | short
title {brand} {model} Smartwatch {size} GPS Heart Rate {Colour}
title {brand} {model} Smart Watch {size} {water} Waterproof Fitness Tracker {Colour}
line water: 5 ATM | 10 ATM *1.15 | IP68 *0.9
line battery: 2 days | 7 days | 14 days *1.1
line size: 41 mm | 45 mm *1.06
each colour: black | silver | rose gold | midnight blue
lead Steps, sleep and pulse at a glance on a bright {size} dial.
lead The {model} maps your run by GPS and shows messages on the wrist.
lead A wearable coach: it counts lengths in the pool and reminds you to stand up.
say The battery lasts {battery} between charges.
say [water=5 ATM] Swimming is fine down to fifty metres.
say [water=IP68] It shrugs off rain, sweat and washing up, but is not meant for swimming.
say Over ninety sports, from rowing to yoga, are recognised.
say Straps change without tools.

== Watch Straps | Electronics > Wearables | own cases | 52 | 9-45 | none
fits Smartwatches, size
title {brand} {Material} Replacement Strap for {fits} {size} {Colour}
title {brand} {fits} Watch Band {Material} {size} {Colour}
line material: silicone | woven nylon | leather *1.6 | stainless steel *1.9
each colour: black | brown | red | olive | white
lead A fresh look for the {fits}: this {material} band clicks into the {size} case.
lead Spare wristband in {colour}, shaped for the {size} version of the {fits}.
say [material=leather] Full grain hide that softens with wear.
say [material=stainless steel] Links come out with the tool in the box.
say [material=silicone] Sweat rinses off under the tap.
say [material=woven nylon] Light, breathable and quick to dry after sport.
say The watch itself is not part of the set.
say Quick release pins need no jeweller. Fits wrists from 14 to 21 cm.
"""
