"""The fused loss and the shared gradient: the numbers that PyTorch's own cross-entropy and embeddings give."""

import pytest
import torch
import torch.nn.functional as F

from doctune.errors import DoctuneError
from doctune.models import Loaded, load_model
from doctune.prompts import IGNORED, encode_pair
from doctune.training import loss as module
from doctune.training.data import collate
from doctune.training.embeddings import lighten
from doctune.training.loss import answer_logits, answer_loss, check_own_loss
from tests.tiny import ROWS, tiny_marian, tiny_qwen


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {"marian": tiny_marian(folder / "marian"), "qwen": tiny_qwen(folder / "qwen")}


def load(bases, name):
    loaded = load_model(bases[name])
    loaded.model.eval()  # no dropout
    examples = [encode_pair(loaded.tokenizer, loaded.recipe, row["en"], row["zh"], 512) for row in ROWS[:6]]
    return loaded.model, collate(examples, loaded.tokenizer.pad_token_id)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def same(one, two):
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(one[name], two[name], rtol=1e-4, atol=2e-6, msg=name)


@pytest.mark.parametrize("name", ["marian", "qwen"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("light", [False, True], ids=["as-it-is", "light"])
@pytest.mark.parametrize("rows", [1 << 27, 12_000], ids=["at-once", "in-parts"])
def test_loss_and_gradients_are_those_of_cross_entropy(bases, monkeypatch, name, smoothing, light, rows):
    model, batch = load(bases, name)
    logits, targets = answer_logits(model, batch)
    wanted = F.cross_entropy(logits, targets, label_smoothing=smoothing)
    expected = gradients(model, wanted)
    monkeypatch.setattr(module, "AT_ONCE", rows)  # 20 rows of 600 tokens
    if light:
        lighten(model)
    loss = answer_loss(model, batch, smoothing)
    torch.testing.assert_close(loss, wanted)
    same(gradients(model, loss), expected)
    scaled = gradients(model, answer_loss(model, batch, smoothing) / 4)  # as gradient accumulation has it
    same({key: grad * 4 for key, grad in scaled.items()}, expected)


@pytest.mark.parametrize("name", ["marian", "qwen"])
def test_the_sum_is_over_the_answer_tokens(bases, name):
    model, batch = load(bases, name)
    with torch.no_grad():
        tokens = int((batch["labels"] != IGNORED).sum())
        torch.testing.assert_close(answer_loss(model, batch, mean=False) / tokens, answer_loss(model, batch))


def test_a_bias_of_the_output_layer_learns_and_a_constant_one_counts(bases):
    model, batch = load(bases, "marian")
    model.final_logits_bias = torch.randn_like(model.final_logits_bias)
    model.lm_head.bias = torch.nn.Parameter(torch.randn(model.lm_head.out_features))
    logits, targets = answer_logits(model, batch)
    expected = gradients(model, F.cross_entropy(logits, targets))
    loss = answer_loss(model, batch)
    same(gradients(model, loss), expected)
    assert "lm_head.bias" in expected


def test_gradients_add_up_over_batches(bases):
    model, batch = load(bases, "marian")
    expected = gradients(model, answer_loss(model, batch))
    lighten(model)
    model.zero_grad()
    for _ in range(2):
        answer_loss(model, batch).backward()
    same({name: p.grad / 2 for name, p in model.named_parameters() if p.grad is not None}, expected)


def test_a_loss_of_one_s_own_takes_the_plain_way(bases):
    model, batch = load(bases, "marian")
    expected = gradients(model, answer_loss(model, batch))
    lighten(model)
    for _ in range(2):  # and leaves nothing behind for the next
        logits, targets = answer_logits(model, batch)
        same(gradients(model, F.cross_entropy(logits, targets)), expected)
        same(gradients(model, answer_loss(model, batch)), expected)


def test_frozen_weights_get_no_gradient(bases):
    model, batch = load(bases, "qwen")
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("q_proj" in name)
    logits, targets = answer_logits(model, batch)
    expected = gradients(model, F.cross_entropy(logits, targets))
    lighten(model)
    same(gradients(model, answer_loss(model, batch)), expected)
    assert all("q_proj" in name for name in expected)


@pytest.mark.parametrize("name", ["marian", "qwen"])
def test_the_stream_stays_in_bfloat16_under_autocast_only(bases, name):
    model, batch = load(bases, name)
    plain = answer_loss(model, batch)
    lighten(model, torch.bfloat16)
    seen = []
    embedding = model.get_input_embeddings()
    embedding.register_forward_hook(lambda *given: seen.append(given[2].dtype))
    torch.testing.assert_close(answer_loss(model, batch), plain)
    with torch.autocast("cpu", torch.bfloat16):
        loss = answer_loss(model, batch)
        loss.backward()
    half = len(seen) // 2  # a tied matrix is looked up for encoder and decoder
    assert seen == [torch.float32] * half + [torch.bfloat16] * half and loss.dtype == torch.float32
    assert abs(loss.item() - plain.item()) < 0.03
    assert embedding.weight.grad.dtype == torch.float32


def test_two_passes_and_one_backward(bases):
    model, batch = load(bases, "marian")
    expected = gradients(model, answer_loss(model, batch))
    lighten(model)
    both = gradients(model, answer_loss(model, batch) + answer_loss(model, batch))
    same({name: gradient / 2 for name, gradient in both.items()}, expected)


def test_a_base_whose_loss_would_be_another_is_refused(bases):
    from transformers import AutoModelForCausalLM, CohereConfig, GPT2Config

    for base in bases.values():
        check_own_loss(load_model(base))
    qwen, width = load_model(bases["qwen"]), {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    cohere = CohereConfig(vocab_size=700, intermediate_size=64, logit_scale=0.5, pad_token_id=0, **width)
    gpt2 = GPT2Config(vocab_size=700, n_embd=64, n_layer=1, n_head=4)
    for config, said in ((cohere, "changes its logits after the output layer"), (gpt2, "is built in another way")):
        with pytest.raises(DoctuneError, match=said):
            check_own_loss(Loaded(AutoModelForCausalLM.from_config(config), qwen.tokenizer, qwen.recipe))
