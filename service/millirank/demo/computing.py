"""Computers, printers and what belongs to them."""

TABLE = """
== Laptops | Computing > Computers | computers | 56 | 329-1499 | code
title {brand} {model} Laptop {screen} {memory} RAM {storage} SSD {Colour}
title {brand} {model} {screen} Notebook Computer {cpu} {memory} {storage} SSD
title {brand} {model} {use} Laptop {screen} {cpu} {memory} / {storage} {Colour}
line screen: 13.3 inch | 14 inch | 15.6 inch *0.9 | 16 inch *1.1
line cpu: 4-core *0.75 | 6-core | 8-core *1.15 | 12-core *1.4
line use: Business | Student *0.85 | Gaming *1.3
each memory: 8 GB *0.85 | 16 GB | 32 GB *1.2
each storage: 256 GB *0.9 | 512 GB | 1 TB *1.1
each colour: silver | black | space grey
lead A {screen} machine with a {cpu} processor and {memory} of memory that starts in seconds.
lead Write, calculate and stream: {storage} of fast flash and a keyboard with real travel.
lead This portable computer weighs little, closes flat and runs through a working day.
say [use=Gaming] A dedicated graphics chip and a second fan keep frame rates high.
say [use=Student] Light enough for lectures, sturdy enough for a rucksack.
say [use=Business] Fingerprint reader, camera shutter and docking through one plug please the IT department.
say The screen is matt, so a window behind you is no trouble.
say Two USB-C sockets charge it and drive a second display.
say Memory and drive can be replaced by the owner.

== Laptop Sleeves | Computing > Computer Accessories | cases desk | 40 | 12-49 | home
title {brand} {model} Laptop Sleeve {size} {Material} {Colour}
title {brand} {model} {Material} Sleeve for {size} Laptops with Accessory Pocket {Colour}
line material: felt | neoprene *0.8 | vegan leather *1.4 | recycled polyester
each size: 13-14 inch | 15-16 inch *1.1
each colour: grey | black | navy | burgundy
lead A soft pouch for notebooks of {size} that slides into any bag.
lead {Material} outside, fleece inside: keys and crumbs stay away from the lid.
say A front pocket holds the charger and a mouse.
say [material=neoprene] The rubbery cloth takes knocks and dries quickly.
say [material=felt] Pressed wool fibres keep their shape for years.
say The zip runs round a corner, so nothing scratches.

== Laptop Chargers | Computing > Computer Accessories | own power | 44 | 19-79 | none
fits Laptops
title {brand} {power} Laptop Charger for {fits} {plug} {cord} Cable
title {brand} Power Adapter {power} Compatible with {fits} Notebook, {plug}, {cord}
line power: 65 W | 90 W *1.2 | 120 W *1.4
line plug: USB-C | barrel plug *0.9
each cord: 1.8 m | 2.5 m *1.1
lead A second power supply for the {fits}, one for home and one for the office.
lead Replaces a lost or broken adapter of the {fits} with {power} of output.
say [origin=original] It is the same part that came in the box.
say [origin=compatible] A compatible part with its own safety approval, at a friendlier price.
say The cord is {cord} long and ends in a {plug}.
say Fold-round strap keeps the lead tidy. Computer not included.

== Monitors | Computing > Computers | computers | 48 | 99-649 | code
title {brand} {model} {screen} {resolution} Monitor {rate} {Panel} {Stand}
title {brand} {model} {screen} Computer Display {resolution} {panel} {rate} HDMI USB-C
line resolution: Full HD *0.7 | QHD | 4K UHD *1.4
line panel: IPS | VA *0.9 | OLED *1.8
line rate: 60 Hz *0.85 | 75 Hz | 144 Hz *1.2 | 240 Hz *1.5
line stand: height adjustable | tilt only *0.9
each screen: 24 inch *0.8 | 27 inch | 32 inch *1.3
lead More room for windows: a {screen} screen in {resolution} with thin borders.
lead Spreadsheets and photos both look right on this {panel} display.
say [rate=240 Hz] Competitive players get 240 frames every second.
say [rate=144 Hz] Games run smoothly thanks to the 144 Hz refresh.
say [stand=height adjustable] The stand rises by 13 cm and turns into portrait.
say [stand=tilt only] Its foot tilts; the VESA holes take an arm.
say A blue light filter relaxes the eyes in the evening.
say One cable brings picture and power to a notebook.

== Computer Mice | Computing > Computer Accessories | desk | 40 | 9-89 | code
title {brand} {model} {Link} {Style} Mouse {dpi} {Colour}
title {brand} {model} {Style} {Link} Computer Mouse, {dpi}, {buttons} Buttons, {Colour}
line link: wireless | wired *0.6 | Bluetooth *1.1
line style: ergonomic vertical *1.3 | gaming *1.5 | compact | silent
line dpi: 1600 dpi *0.8 | 4000 dpi | 16000 dpi *1.4
line buttons: 3 *0.9 | 5 | 7 *1.2
each colour: black | white | grey
lead A {style} mouse that follows the hand precisely on wood, cloth and glass.
lead {buttons} keys, a smooth wheel and a shape that suits small and large hands.
say [style=ergonomic vertical] The handshake grip takes strain off the wrist.
say [style=silent] Its clicks can hardly be heard, so meetings stay quiet.
say [style=gaming] Lift-off distance and weight are made for quick flicks.
say [link=wireless] A tiny receiver plugs in, and one battery lasts eighteen months.
say [link=wired] The braided cord is 1.8 m long and needs no battery.
say [link=Bluetooth] Switch between three computers with one key.

== Keyboards | Computing > Computer Accessories | desk | 40 | 15-149 | code
title {brand} {model} {Link} {Switch} Keyboard {layout} {Size} {Colour}
title {brand} {model} {Switch} Keyboard, {Size}, {link}, {layout} Layout, {Colour}
line switch: mechanical *1.7 | membrane *0.7 | scissor
line link: wireless | wired *0.8
line size: full size | compact 75% *0.95 | tenkeyless
each layout: QWERTY UK | QWERTZ German | AZERTY French
each colour: black | white
lead Type all day on {switch} keys with even lighting and printed legends that last.
lead A {size} board that leaves space for the mouse and sits firmly on the desk.
say [switch=mechanical] Each switch is rated for fifty million strokes and can be pulled and swapped.
say [switch=membrane] Soft keys and a spill-proof tray forgive a cup of tea.
say [switch=scissor] Flat keys feel like those of a good notebook.
say [link=wireless] It pairs with three devices and charges through USB-C.
say [link=wired] A detachable lead of 1.5 m links it to the computer.

== Webcams | Computing > Computer Accessories | desk network | 32 | 25-149 | code
title {brand} {model} Webcam {resolution} {rate} with {Mic} and Privacy Shutter
title {brand} {model} {resolution} USB Web Camera {view} {rate} Black
line resolution: 720p *0.7 | 1080p | 2K *1.2 | 4K *1.6
line rate: 30 fps | 60 fps *1.2
line view: 78 degrees | 90 degrees
line mic: dual microphone | single microphone *0.9
lead Look good in video calls: {resolution} at {rate} and a lens that copes with dim rooms.
lead Clip it on the screen and colleagues see you clearly instead of a grey blur.
say A slider closes the lens when the meeting is over.
say It needs no driver and works with every common conference program.
say The field of view is {view}, wide enough for two people.
say [mic=dual microphone] Noise from keys and fans is filtered out.

== Laser Printers | Computing > Printing | printers | 36 | 109-499 | code
title {brand} {model} {Colours} Laser Printer A4 {speed} {Duplex} {Net}
title {brand} {model} {Function} {Colours} Laser Printer {speed} {net} White
line colours: mono *0.7 | colour *1.2
line speed: 20 ppm *0.85 | 28 ppm | 38 ppm *1.2
line duplex: duplex *1.1 | -
line net: Wi-Fi | Ethernet
line function: multifunction *1.3 | -
each tray: 150-sheet tray | 250-sheet tray *1.1
lead Crisp black text from the first page, {speed} when it is in a hurry.
lead An office workhorse that wakes in eight seconds and takes A4 from a {tray}.
say [function=multifunction] Scanner and copier sit on top, with a feeder for thirty-five pages.
say [duplex=duplex] Both sides are printed automatically, which halves the paper.
say [colours=mono] It prints black only, cheaply and without drying up.
say [colours=colour] Four cartridges give charts and flyers strong colours.
say [net=Wi-Fi] Phones and notebooks print over the air.
say [net=Ethernet] It joins the office network by cable.

== Toner Cartridges | Computing > Printing | own refills | 84 | 24-139 | code
fits Laser Printers
title {brand} {model} Toner Cartridge for {fits} {Ink} {yield} {Origin}
title {brand} {model} {Origin} Toner {Ink} {yield} Laser Printer {fits}
line yield: 1500 pages *0.7 | 2600 pages | 6000 pages *1.7
each ink: black | black | cyan | magenta | yellow
lead {Ink} powder for the {fits}, good for {yield} at five per cent cover.
lead Refills the {fits} in a minute: pull the strip, push it in, close the flap.
say [origin=original] Made by {brand} for its own machines, so the level shows correctly.
say [origin=compatible] Remanufactured from collected shells and tested page by page.
say [yield=6000 pages] The high yield version spares you two orders a year.
say The printer is not included. Return the empty shell free of charge.
say Store it dark and dry; it keeps for two years.

== Inkjet Printers | Computing > Printing | printers | 32 | 59-279 | code
title {brand} {model} {Function} Inkjet Printer A4 {Net} {Feed} {Colour}
title {brand} {model} Colour Inkjet Printer {Function} with {Feed}, {net}, {Colour}
line function: all-in-one *1.2 | photo *1.3 | compact *0.8
line net: Wi-Fi | Wi-Fi and Ethernet *1.1
line feed: paper cassette | rear feed *0.9
each colour: white | black
lead Homework, tickets and holiday pictures from one small machine on the sideboard.
lead Print from the phone without setting anything up, in colour up to A4.
say [function=all-in-one] It scans and copies as well.
say [function=photo] Six inks make borderless pictures that look like the lab's.
say [feed=paper cassette] A closed tray keeps one hundred sheets free of dust.
say Single inks are changed one by one.

== Ink Cartridges | Computing > Printing | own refills | 72 | 9-49 | code
fits Inkjet Printers
title {brand} {model} Ink Cartridge for {fits} {Ink} {volume} {Origin}
title {brand} {model} {Origin} Printer Ink {Ink} {volume}, Fits {fits}
line volume: 6 ml *0.7 | 11 ml | 19 ml *1.5
each ink: black | cyan | magenta | yellow | multipack *2.6
lead Fresh {ink} ink for the {fits}, {volume} of it, sealed until you open it.
lead Pictures from the {fits} keep their tone with this quick-drying refill.
say [origin=original] It is {brand}'s own liquid, matched to the print head.
say [origin=compatible] The chip is recognised at once, and a page costs half.
say [ink=multipack] The set holds black and all three colours.
say Printer not included. Shake gently before fitting.

== External SSDs | Computing > Storage | storage | 36 | 59-189 | code
title {brand} {model} External SSD {capacity} USB-C {speed} {Rugged} {Colour}
title {brand} {model} Portable Solid State Drive {capacity} {speed} {Colour}
line speed: 540 MB/s *0.8 | 1050 MB/s | 2000 MB/s *1.2
line rugged: shockproof *1.15 | -
each capacity: 500 GB *0.7 | 1 TB | 2 TB *1.7 | 4 TB *3
each colour: black | blue | red
lead Back up {capacity} of photos and projects in minutes, at up to {speed}.
lead A drive the size of a matchbox, with no moving parts and no fan.
say [rugged=shockproof] A rubber skin survives a fall from three metres and a rain shower.
say It works with computers, tablets, phones and consoles.
say Files are locked with hardware encryption if you wish.
say Short cables for USB-C and USB-A are in the box.

== USB-C Hubs | Computing > Computer Accessories | desk power | 36 | 19-129 | code
title {brand} {model} USB-C Hub {ports}-in-1 HDMI {video} {Extra} {Charging}
title {brand} {model} {ports}-Port USB-C Dock for Laptops, {video} HDMI, {charging}
line ports: 5 *0.7 | 7 | 9 *1.3 | 12 *1.8
line video: 4K 30 Hz *0.9 | 4K 60 Hz
line charging: 60 W | 100 W *1.1
each extra: Ethernet | SD card reader
lead One plug turns a slim notebook into a desk with {ports} sockets.
lead Screen, stick, mouse and network share this small aluminium docking box.
say The HDMI outlet carries {video}.
say It passes on up to {charging}, so the computer charges meanwhile.
say [extra=Ethernet] A network socket is there when the Wi-Fi is not.
say [extra=SD card reader] Photographers read two cards at once.

== Wi-Fi Routers | Computing > Network | network | 32 | 49-279 | code
title {brand} {model} {standard} Router {speed} {Bands} {Pack} White
title {brand} {model} Wireless Router {standard} {bands} {speed} {Pack}
line standard: Wi-Fi 5 *0.7 | Wi-Fi 6 | Wi-Fi 7 *1.6
line speed: 1200 Mbit/s *0.8 | 3000 Mbit/s | 5400 Mbit/s *1.3
line bands: dual-band | tri-band *1.2
each pack: single | mesh set of 2 *1.7 | mesh set of 3 *2.4
lead Steady internet in every corner, with {standard} and up to {speed}.
lead Set up from the phone in five minutes, then forget that it is there.
say [pack=single] One unit serves a flat of about ninety square metres.
say [pack=mesh set of 2] Two stations hand devices over as you walk through the house.
say [pack=mesh set of 3] Three stations cover cellar, garden and attic without dead spots.
say Guests and gadgets get a network of their own.
say Four wired ports link television, console and printer.
"""
