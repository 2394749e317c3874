"""The small base model that ships in `base/`: corpus, tokenizer, shape, and what `flows/pretrain.py` does with them.

    rows = read_corpus(Path("pairs.jsonl"))                 # {"en", "zh", "source", "path"} a line
    parts = hold_out(rows, seed=17)                         # whole pages set aside for validation and test
    tokenizer = train_tokenizer(parts.train, folder, 8000)  # joint unigram pieces, 64 placeholder symbols

Text is kept as it is: SentencePiece's default NFKC would turn full-width Chinese punctuation into ASCII.
"""

import random
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from doctune.errors import DoctuneError
from doctune.files import hash_share, hash_text, read_jsonl, whole_dir, write_json
from doctune.placeholders import SYMBOLS, protect
from doctune.prompts import Recipe, prepare
from doctune.section import Section
from doctune.text import flatten, has_cjk

RECIPE = Recipe(template="plain", placeholders=True, links={"/docs/": "/zh-cn/docs/"}, target_prefix="")
LICENCES = {
    "react": "CC-BY-4.0",
    "vue": "CC-BY-4.0",
    "astro": "MIT",
    "apisix": "Apache-2.0",
    "cloudwego": "Apache-2.0",
    "antd": "MIT",
    "tldr": "CC-BY-4.0",
    "opentelemetry": "CC-BY-4.0",
    "hf-course": "Apache-2.0",
    "helm": "MIT",
}


class BaseShape(Section):
    """Marian's architecture at a size that fits a git repository in bf16."""

    vocabulary: int
    width: int
    heads: int
    feed_forward: int
    encoder_layers: int
    decoder_layers: int
    positions: int


class Parts(NamedTuple):
    train: list[dict[str, Any]]
    valid: list[dict[str, Any]]
    test: list[dict[str, Any]]
    dropped: dict[str, int]


def read_corpus(path: Path) -> list[dict[str, Any]]:
    rows = read_jsonl(path)
    bad = [
        n
        for n, row in enumerate(rows, 1)
        if not all(isinstance(row.get(k), str) for k in ("en", "zh", "source", "path"))
    ]
    if bad or not rows:
        raise DoctuneError(
            f"{path}: wanted rows with the strings en, zh, source and path, got {len(rows)} rows with mistakes in lines {bad[:5]}"
        )
    return rows


def hold_out(rows: list[dict[str, Any]], seed: int, fraction: float = 0.01) -> Parts:
    """Set whole pages aside by hash; drop what teaches nothing; keep no source of valid or test in train."""
    dropped: Counter[str] = Counter()
    parts: dict[str, list[dict[str, Any]]] = {"train": [], "valid": [], "test": []}
    seen: set[tuple[str, str]] = set()
    for row in rows:
        reason = _useless(row)
        if not reason and (row["en"], row["zh"]) in seen:
            reason = "duplicate"
        if reason:
            dropped[reason] += 1
            continue
        seen.add((row["en"], row["zh"]))
        share = hash_share(str(seed), row["source"], row["path"])
        parts["test" if share < fraction else "valid" if share < 2 * fraction else "train"].append(row)
    held = {row["en"] for name in ("valid", "test") for row in parts[name]}
    train = [row for row in parts["train"] if row["en"] not in held]
    dropped["held-out source in train"] = len(parts["train"]) - len(train)
    return Parts(train, parts["valid"], parts["test"], dict(dropped))


def general_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Held-out rows as `evaluate.general` wants them, with an id."""
    return [
        {"id": hash_text(row["en"], row["zh"])[:16], **{key: row[key] for key in ("en", "zh", "source", "path")}}
        for row in rows
    ]


def train_tokenizer(rows: list[dict[str, Any]], folder: Path, shape: BaseShape) -> Any:
    """Train joint unigram pieces on the protected text of `rows` and save them as a Marian tokenizer in `folder`."""
    from transformers import MarianTokenizer

    with whole_dir(folder) as tmp:
        pieces = tmp / "source.spm"
        _train_pieces(rows, tmp, pieces, shape)
        (tmp / "target.spm").write_bytes(pieces.read_bytes())
        write_json(tmp / "vocab.json", {piece: index for index, piece in enumerate(_vocabulary(pieces))})
        tokenizer = MarianTokenizer(
            str(pieces),
            str(tmp / "target.spm"),
            str(tmp / "vocab.json"),
            source_lang="en",
            target_lang="zh",
            model_max_length=shape.positions,
        )
        tokenizer.save_pretrained(tmp)
    return MarianTokenizer.from_pretrained(folder)


def _train_pieces(rows: list[dict[str, Any]], work: Path, out: Path, shape: BaseShape) -> None:
    import sentencepiece

    corpus = work / "corpus.txt"
    with corpus.open("w", encoding="utf-8") as file:
        for row in rows:
            source = prepare(RECIPE, row["en"])
            target, _ = protect(flatten(row["zh"], "zh"), known=source.spans)
            file.write(f"{source.text}\n{target}\n")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus),
        model_prefix=str(work / "joint"),
        model_type="unigram",
        vocab_size=shape.vocabulary - 1,
        character_coverage=0.9998,
        byte_fallback=True,
        normalization_rule_name="identity",
        split_digits=True,
        user_defined_symbols=list(SYMBOLS),
        max_sentence_length=16384,
        num_threads=2,
        minloglevel=2,
        unk_id=0,
        bos_id=-1,
        eos_id=1,
        pad_id=-1,
    )
    (work / "joint.model").rename(out)
    for name in ("joint.vocab", "corpus.txt"):
        (work / name).unlink()


def _vocabulary(pieces: Path) -> list[str]:
    """Pieces in Marian's own order: </s> is 0, <unk> is 1, <pad> is last."""
    import sentencepiece

    model = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    names = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    return ["</s>", "<unk>", *[name for name in names if name not in ("</s>", "<unk>")], "<pad>"]


def new_model(shape: BaseShape, tokenizer: Any) -> Any:
    from transformers import MarianConfig, MarianMTModel

    return MarianMTModel(
        MarianConfig(
            vocab_size=len(tokenizer),
            d_model=shape.width,
            max_position_embeddings=shape.positions,
            encoder_layers=shape.encoder_layers,
            decoder_layers=shape.decoder_layers,
            encoder_attention_heads=shape.heads,
            decoder_attention_heads=shape.heads,
            encoder_ffn_dim=shape.feed_forward,
            decoder_ffn_dim=shape.feed_forward,
            activation_function="swish",
            scale_embedding=True,
            static_position_embeddings=True,
            normalize_before=False,
            dropout=0.1,
            attention_dropout=0.0,
            activation_dropout=0.0,
            tie_word_embeddings=True,
            share_encoder_decoder_embeddings=True,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            forced_eos_token_id=None,
            decoder_start_token_id=tokenizer.pad_token_id,
        )
    )


def random_starts(rows: list[dict[str, Any]], seed: int) -> list[int]:
    """First placeholder numbers: mostly 1, as in use, and a fifth of the time anywhere, so that every symbol is learnt."""
    generator = random.Random(seed)
    return [generator.randint(2, len(SYMBOLS) - 12) if generator.random() < 0.2 else 1 for _ in rows]


def _useless(row: dict[str, Any]) -> str | None:
    en, zh = row["en"].strip(), row["zh"].strip()
    if not en or not zh:
        return "empty"
    if not has_cjk(zh):
        return "untranslated"
    if has_cjk(en):
        return "source not English"
    ratio = len(zh) / len(en)
    if len(en) > 20 and not 0.12 <= ratio <= 1.1:
        return "length ratio"
    if len(en) > 1200:
        return "overlong"
    return None


def save_base(loaded: Any, out: Path) -> None:
    """Write the base in bfloat16 (half the bytes; opened in float32)."""
    import torch

    from doctune.models import save_model

    save_model(loaded._replace(model=loaded.model.to(torch.bfloat16)), out)


def model_card(
    shape: BaseShape,
    params: Any,
    parts: Parts,
    facts: dict[str, Any],
    scores: dict[str, float],
    minutes: float,
    machine: str,
) -> str:
    """The base's README.md: what it is, what it was made of, how, and how good it is."""
    sources = Counter(row["source"] for row in parts.train)
    listed = "\n".join(
        f"| {name} | {LICENCES.get(name, 'see the corpus')} | {count} |" for name, count in sorted(sources.items())
    )
    return f"""---
language: [en, zh]
license: cc-by-4.0
pipeline_tag: translation
---

# doctune base: English to Simplified Chinese, technical documentation

A small Marian-shaped translator ({facts["parameters"] / 1e6:.1f} M parameters: {shape.encoder_layers} encoder and {shape.decoder_layers} decoder layers of width
{shape.width}, {shape.vocabulary} joint unigram pieces of which {len(SYMBOLS)} are placeholder symbols for markup) to fine-tune from. It has seen no Kubernetes documentation.
It is a starting point and not a translator to publish with.

Made by `python -m flows.pretrain --corpus pairs.jsonl --steps {params.max_steps} --learning-rate {params.learning_rate}` in {minutes:.0f} minutes on {machine}
({facts["precision"]}, {facts["steps"]} updates of at most {params.batch_tokens} padded tokens, Muon and AdamW, label smoothing {params.label_smoothing}).

| source | licence | pairs |
|---|---|---|
{listed}

Held out by whole pages: {len(parts.valid)} pairs for validation (loss {facts["valid_loss"]} nats a token), {len(parts.test)} for the test: BLEU {scores["bleu"]}
(sacreBLEU, tokenizer zh), chrF {scores["chrf"]}, output length {scores["length_ratio"]} of the reference's.
"""
