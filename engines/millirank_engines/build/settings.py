"""How a cross-encoder is trained."""

from dataclasses import dataclass

from millirank_engines.base import EngineError


@dataclass(frozen=True)
class Settings:
    """How to train."""

    layers: int = 0  # of the model, evenly spaced among those that it starts from; 0 keeps all
    mix: tuple[tuple[str, float], ...] = ()  # name and weight of the mined scores' parts; none takes them as mined
    mined_weight: float = 1.0  # of the mined scores in the teacher, beside cross-encoders
    hidden: float = 0.0  # of the mean squared distance to the states of the deeper network that a student starts from
    epochs: int = 3  # over the mined lists
    lr: float = 1e-4
    judged_epochs: int = 2  # afterwards, where there are judgments
    judged_lr: float = 2e-5
    judged_repeats: int = 8  # of each judged list in such an epoch, beside as many mined lists
    lists: int = 16  # a step
    candidates: int = 24  # of a list, at most; the first of each list are drawn anew for every epoch
    product_tokens: tuple[int, ...] = (24, 32, 48)  # a limit is drawn for each step, so that one model serves several
    served_tokens: int = 32  # of a product: the limit that the trained model is served with
    temperature: float = 1.0
    dropout: bool = True  # as the network's configuration says; on a CPU it takes a quarter of the time
    warmup: float = 0.06  # part of the steps
    decay: float = 0.01  # of weights that are no bias and no norm
    clip: float = 1.0  # norm of the gradient
    held: int = 400  # mined lists that are never trained on, at most a tenth
    seed: int = 13

    def __post_init__(self) -> None:
        """Refuses to serve what was not trained, and to match the states of nothing deeper."""
        longest = max(self.product_tokens)
        if self.served_tokens > longest:
            raise EngineError(
                f"served_tokens is {self.served_tokens}, trained are {longest}: set it to {longest} or less"
            )
        if self.hidden and not self.layers:
            fix = "give the student fewer --layers, or leave it 0"
            raise EngineError(f"--hidden matches the states of a deeper network: {fix}")
