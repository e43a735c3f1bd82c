"""Tables of what INT8 lost, where it is used, and which layers it spares."""

from rich.console import Console
from rich.table import Table

from millirank_engines import Figure, Manifest


def show_quantization(manifest: Manifest, console: Console) -> None:
    """Prints what an artifact keeps of its INT8: nothing if it never had any."""
    if manifest.accuracy:
        console.print(accuracy(manifest.accuracy))
    if manifest.choices:
        console.print(choices(manifest))
    if rows := manifest.quantization.get("sensitivity"):
        table = Table("layer, alone in INT8", "error in SD", "cosine p1", "kept in float")
        for row in rows:
            cosine = f"{row['cosine_p1']:.5f}" if "cosine_p1" in row else ""
            table.add_row(row["layer"], f"{row['error']:.4f}", cosine, "yes" if row["float"] else "")
        console.print(table)
    if reason := manifest.quantization.get("left_out"):
        console.print(f"INT8 is left out: {reason}", soft_wrap=True)


def accuracy(figures: tuple[Figure, ...]) -> Table:
    """What INT8 answers beside FP32."""
    table = Table("INT8 beside FP32", "FP32", "INT8", "loss", "may lose", "agreement", "of", "")
    for one in figures:
        alike = "" if one.agreement is None else f"{one.agreement:.2%}"
        numbers = (f"{one.fp32:.4g}", f"{one.int8:.4g}", f"{one.loss:.3g}", f"{one.limit:g}")
        table.add_row(one.name, *numbers, alike, f"{one.count:,}", "ok" if one.passed else "FAILED")
    return table


def choices(manifest: Manifest) -> Table:
    """Which precision each profile runs at."""
    names = list(dict.fromkeys(name for choice in manifest.choices for name in choice.times))
    table = Table("profile", *(f"{name} ms" for name in names), "runs in")
    for choice in manifest.choices:
        times = (f"{choice.times[name]:.2f}" if name in choice.times else "" for name in names)
        table.add_row(str(choice.profile), *times, choice.precision)
    return table
