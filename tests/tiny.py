"""Tiny models for tests, made on the spot: Marian, Qwen2, Llama and Yuan of width 64, each a whole base folder.

    base = tiny_marian(tmp_path / "base")                # random weights, about a second
    base = tiny_qwen(tmp_path / "base", steps=150)       # knows PAIRS by heart, so it is sure and nothing ties
    base = tiny_yuan(tmp_path / "base")                  # its architecture is code in the folder (tests/yuan)

The same arguments give the same weights.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAIRS = (
    ("A pod is the smallest unit.", "Pod 是最小的单元。"),
    ("A node runs many pods.", "一个节点运行多个 Pod。"),
    ("Run `kubectl get pods` to list them.", "运行 `kubectl get pods` 列出它们。"),
    ("See [the guide](/docs/guide/) first.", "请先阅读[指南](/zh-cn/docs/guide/)。"),
    ("The scheduler chooses a node.", "调度器选择一个节点。"),
    ("Before you begin", "准备开始"),
    ("What's next", "接下来"),
    ("Clean up", "清理现场"),
    ("Delete the namespace when you are done.", "完成后删除该命名空间。"),
    ("A secret holds a password.", "Secret 保存密码。"),
    ("The disk is full, so the pod was evicted.", "磁盘已满，因此该 Pod 被驱逐。"),
    ("Labels are key and value pairs.", "标签是键值对。"),
    ("Use a volume to keep your data.", "使用卷来保存数据。"),
    ("The controller restarts a failed container.", "控制器重启失败的容器。"),
    ("Wait until the rollout is complete.", "等待上线完成。"),
    ("Every service gets a stable address.", "每个服务都有一个稳定的地址。"),
    ("The default value is 30 seconds.", "默认值为 30 秒。"),
    ("Traffic is balanced across healthy pods.", "流量在健康的 Pod 之间均衡分配。"),
    ("You need a running cluster.", "你需要一个运行中的集群。"),
    ("Set the memory limit in the manifest.", "在清单中设置内存限制。"),
    ("A job runs once and then stops.", "Job 运行一次后停止。"),
    ("Certificates expire after one year.", "证书在一年后过期。"),
    ("Check the logs of the old container.", "查看旧容器的日志。"),
    ("Drain the node before the upgrade.", "升级前先清空该节点。"),
)
ROWS: list[dict[str, Any]] = [{"id": f"{n:016x}", "en": en, "zh": zh} for n, (en, zh) in enumerate(PAIRS)]
VOCABULARY = 600
_CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def tiny_marian(
    folder: Path, steps: int = 0, seed: int = 1, pairs: Sequence[tuple[str, str]] = PAIRS, positions: int = 128
) -> Path:
    """An encoder-decoder with 600 joint pieces (64 of them placeholder symbols); returns `folder`.

    `pairs` are what it learns in `steps`, source first: turned round they make a Chinese-to-English model.
    """
    import torch

    from doctune.models import Loaded
    from doctune.pretraining import RECIPE, BaseShape, new_model, train_tokenizer

    shape = BaseShape(
        vocabulary=VOCABULARY,
        width=64,
        heads=4,
        feed_forward=128,
        encoder_layers=2,
        decoder_layers=1,
        positions=positions,
    )
    with tempfile.TemporaryDirectory() as pieces:
        tokenizer = train_tokenizer(ROWS, Path(pieces), shape)
        torch.manual_seed(seed)
        return _save(Loaded(new_model(shape, tokenizer), tokenizer, RECIPE), folder, steps, pairs)


def tiny_qwen(folder: Path, steps: int = 0, seed: int = 1) -> Path:
    """A causal model with byte-level pieces and the ChatML template; returns `folder`."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2TokenizerFast

    from doctune.models import Loaded
    from doctune.prompts import INSTRUCTIONS, TRANSLATE, Recipe

    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    pieces.train_from_iterator(
        [text for pair in PAIRS for text in pair] + [INSTRUCTIONS[TRANSLATE]] * 9,  # a prompt of few tokens
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=specials,
            show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    tokenizer = Qwen2TokenizerFast(
        tokenizer_object=pieces,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=_CHATML,
        model_max_length=512,
    )
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    recipe = Recipe(template="chatml", placeholders=True, links={"/docs/": "/zh-cn/docs/"}, target_prefix="")
    return _save(Loaded(model, tokenizer, recipe), folder, steps)


def tiny_llama(folder: Path, steps: int = 0, seed: int = 1) -> Path:
    """A Llama with its kind of tokenizer: SentencePiece with byte fallback, opening with <s>, no padding token."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaTokenizer

    from doctune.models import Loaded
    from doctune.prompts import INSTRUCTIONS, TRANSLATE, Recipe

    prompt = f"### Instruction:\n{INSTRUCTIONS[TRANSLATE]}\n\n### Input:\n\n### Response:\n"
    with tempfile.TemporaryDirectory() as pieces:
        tokenizer = LlamaTokenizer(_sentence_pieces(Path(pieces), prompt, []), legacy=True, model_max_length=512)
        torch.manual_seed(seed)
        model = LlamaForCausalLM(
            LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=2, **_SHAPE | {"max_position_embeddings": 1024})
        )
        recipe = Recipe(template="instruct", placeholders=False, links={"/docs/": "/zh-cn/docs/"}, target_prefix="")
        return _save(Loaded(model, tokenizer, recipe), folder, steps)


def tiny_yuan(folder: Path, steps: int = 0, seed: int = 1) -> Path:
    """A causal model whose code lies in its folder, with Yuan 2's tokens: no text is opened, <eod> closes it."""
    import torch
    from transformers import LlamaTokenizer

    from doctune.models import Loaded
    from doctune.prompts import Recipe
    from tests.yuan.configuration_yuan import YuanConfig
    from tests.yuan.yuan_hf_model import YuanForCausalLM

    YuanConfig.register_for_auto_class()
    YuanForCausalLM.register_for_auto_class("AutoModelForCausalLM")
    marks = ["<sep>", "<pad>", "<mask>", "<predict>", "<eod>"]
    with tempfile.TemporaryDirectory() as pieces:
        tokenizer = LlamaTokenizer(
            _sentence_pieces(Path(pieces), "术语：", marks),
            add_bos_token=False,
            add_eos_token=False,
            eos_token="<eod>",
            legacy=True,
            model_max_length=512,
        )
        tokenizer.add_tokens(marks, special_tokens=True)
        torch.manual_seed(seed)
        model = YuanForCausalLM(YuanConfig(vocab_size=len(tokenizer), eos_token_id=tokenizer.eos_token_id, **_SHAPE))
        recipe = Recipe(template="sep", placeholders=False, links={"/docs/": "/zh-cn/docs/"}, target_prefix="")
        return _save(Loaded(model, tokenizer, recipe), folder, steps)


_SHAPE: dict[str, int] = dict(
    hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=512
)


def _sentence_pieces(folder: Path, prompt: str, marks: Sequence[str]) -> str:
    """Pieces as Llama has them, learnt from PAIRS and the words of a prompt; returns the model's path."""
    import sentencepiece

    texts = [text for pair in PAIRS for text in pair] + prompt.splitlines() * 9
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text for text in texts if text),
        model_prefix=str(folder / "tokenizer"),
        model_type="bpe",
        vocab_size=VOCABULARY,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        user_defined_symbols=list(marks),
        num_threads=1,
        minloglevel=2,
    )
    return str(folder / "tokenizer.model")


def _save(loaded: Any, folder: Path, steps: int, pairs: Sequence[tuple[str, str]] = PAIRS) -> Path:
    from doctune.models import save_model

    if steps:
        _learn(loaded, steps, pairs)
    save_model(loaded, folder)
    return folder


def _learn(loaded: Any, steps: int, pairs: Sequence[tuple[str, str]]) -> None:
    """Learn pairs by heart, a third of them in a step."""
    import torch
    import torch.nn.functional as F

    from doctune.prompts import encode_pair, set_padding
    from doctune.training.data import collate
    from doctune.training.loss import answer_logits

    set_padding(loaded.tokenizer, loaded.recipe)
    examples = [encode_pair(loaded.tokenizer, loaded.recipe, en, zh, 512) for en, zh in pairs]
    batches = [collate(examples[n::3], loaded.tokenizer.pad_token_id) for n in range(3)]
    optimizer = torch.optim.AdamW(loaded.model.parameters(), lr=4e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps, pct_start=0.2)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # tensors this small lose more to waiting for a second core than they gain from it
    torch.set_flush_denormal(True)
    loaded.model.eval()  # no dropout: the aim is to memorise
    for step in range(steps):
        logits, targets = answer_logits(loaded.model, batches[step % len(batches)])
        loss = F.cross_entropy(logits, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    torch.set_num_threads(threads)
