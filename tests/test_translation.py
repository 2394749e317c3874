"""Answers that are cut, and what is said of it: nothing is lost without a word."""

from typing import Any

import pytest
import torch

from doctune.models import load_model
from doctune.translation import TranslateParams, Translator, make_translator
from tests.tiny import tiny_qwen

LONG = "The scheduler looks for a node with room for the Pod, and the kubelet of that node starts its containers. " * 4


class Writes:
    """A causal model that writes so many tokens and then the end, if it gets that far."""

    device = torch.device("cpu")

    def __init__(self, config: Any, tokens: int):
        self.config, self.tokens = config, tokens

    def generate(self, input_ids: Any, max_new_tokens: int, eos_token_id: int, **_: Any) -> Any:
        answer = ([11] * self.tokens + [eos_token_id])[:max_new_tokens]
        return torch.cat([input_ids, torch.tensor([answer] * len(input_ids))], dim=1)


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    loaded = load_model(tiny_qwen(tmp_path_factory.mktemp("base") / "base"))
    return make_translator(loaded, TranslateParams(beams=1, batch_tokens=4096, max_new_tokens=40))


@pytest.mark.parametrize(
    ("texts", "tokens", "cut"),
    [
        pytest.param([LONG], 100, 1, id="more than may be written"),
        pytest.param([LONG, LONG], 100, 2, id="each"),
        pytest.param([LONG], 39, 0, id="the end comes in time"),
        pytest.param(["Pod"], 100, 0, id="a loop after a short text is cut as such"),
        pytest.param([], 100, 0, id="no texts"),
    ],
)
def test_an_answer_that_is_cut_is_told(
    translator: Translator, capsys: pytest.CaptureFixture[str], texts: list[str], tokens: int, cut: int
) -> None:
    writer = Translator(Writes(translator.model.config, tokens), *list(vars(translator).values())[1:])
    assert len(writer.translate(texts)) == len(texts)
    said = capsys.readouterr().err
    assert (f"{cut} of {len(texts)} translations are cut at 40 tokens" in said) if cut else not said
