"""What a model's reference costs it, against transformers' own loss of one pair at a time, for both kinds of model."""

from pathlib import Path

import pytest
import torch

from doctune.errors import DoctuneError
from doctune.files import write_jsonl
from doctune.likelihood import nats
from doctune.prompts import encode_pair
from doctune.scoring.likelihood import PERPLEXITY, PERPLEXITY_CHARACTER, likelihoods
from doctune.scoring.metrics import score
from doctune.translation import load_translator
from tests.tiny import PAIRS, tiny_marian, tiny_qwen


@pytest.mark.parametrize("make", [tiny_marian, tiny_qwen])
def test_nats_are_transformers_loss_times_tokens(tmp_path, make):
    translator = load_translator(make(tmp_path / "base"))
    measured = nats(translator, PAIRS[:9])
    for (en, zh), (lost, tokens) in zip(PAIRS[:9], measured, strict=True):
        example = encode_pair(translator.tokenizer, translator.recipe, en, zh, 1000)
        labels = torch.tensor([list(example.labels)])
        with torch.inference_mode():
            loss = translator.model(input_ids=torch.tensor([list(example.input_ids)]), labels=labels).loss
        assert tokens == sum(label != -100 for label in example.labels[0 if translator.seq2seq else 1 :])
        assert lost == pytest.approx(loss.item() * tokens, rel=1e-4)


def test_what_was_learnt_costs_little_and_what_is_too_long_is_not_measured(tmp_path):
    knows = load_translator(tiny_marian(tmp_path / "base", steps=150))
    known, turned = nats(knows, PAIRS[:4]), nats(knows, [(en, PAIRS[9 - n][1]) for n, (en, _) in enumerate(PAIRS[:4])])
    assert sum(lost for lost, _ in known) < sum(lost for lost, _ in turned) / 1.5
    (first, _), too_long, (last, _) = nats(knows, [PAIRS[0], ("pod " * 200, "单元"), PAIRS[1]])
    assert [first, last] == pytest.approx([known[0][0], known[1][0]], rel=1e-4)
    assert too_long == (0.0, 0)


def test_perplexity_is_of_the_whole_corpus_by_token_and_by_character():
    rows = [{"nats": 2.0, "tokens": 4}, {"nats": 4.0, "tokens": 2}, {"nats": 0.0, "tokens": 0}]
    stats = likelihoods(rows, ["灯塔", "渔船", "没有量过的很长的一句"])["perplexity"]
    assert score(PERPLEXITY, stats) == pytest.approx(2.718281828459045)
    assert score(PERPLEXITY_CHARACTER, stats) == pytest.approx(2.718281828459045**1.5)
    assert likelihoods([*rows, {"hyp": "只有译文"}], ["一"] * 4) == {}


def test_both_files_are_read_before_the_model_is(tmp_path: Path) -> None:
    """Text from elsewhere without ids, of one's own: not after minutes of work on the test rows."""
    from tasks.translate import main

    test, general = tmp_path / "test.jsonl", tmp_path / "general.jsonl"
    write_jsonl(test, [{"id": "1", "en": "A pod.", "zh": "一个 Pod。"}])
    write_jsonl(general, [{"en": "A door.", "zh": "一扇门。"}])
    with pytest.raises(DoctuneError, match="general.jsonl, row 1: wanted text in 'id', got None"):
        main(tmp_path / "no-model", test, tmp_path / "out.jsonl", general, tmp_path / "general-out.jsonl")
    write_jsonl(general, [{"id": "1", "en": "A door.", "zh": "一扇门。"}])
    with pytest.raises(DoctuneError, match="general-folder cannot be read"):
        (tmp_path / "general-folder").mkdir()
        main(tmp_path / "no-model", test, tmp_path / "out.jsonl", tmp_path / "general-folder", tmp_path / "g.jsonl")
