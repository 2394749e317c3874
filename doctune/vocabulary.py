"""A smaller vocabulary for a Marian model: the pieces that its texts need, and a safety set, out of all that it was made with.

    small = trim(loaded, rows)                 # rows with `en` and `zh`, of the training split say
    len(loaded.tokenizer), len(small.tokenizer)    # 65001, 21480

OPUS-MT knows 65,001 pieces of every subject; a documentation site uses a third of them, and the output layer is most of the
model's work. Kept are the pieces of the rows, sources and answers; every special, placeholder and byte piece; and every
single character, so that any text that could be written before still can, in more pieces. The logits of kept pieces are what
they were, to the last bit of their rows; a text of kept pieces is segmented as before, since its best segmentation is still there.
"""

import json
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError
from doctune.models import Loaded
from doctune.prompts import TRANSLATE, encode_pair

NORMAL = 1  # sentencepiece's type of a piece that was learnt; the others are symbols, bytes and specials
WHOLE = 1 << 30  # tokens: nothing is cut
BY_PIECE = ("shared.weight", "embed_tokens.weight", "lm_head.weight")  # a row a piece
IDS = ("pad_token_id", "eos_token_id", "bos_token_id", "decoder_start_token_id", "forced_eos_token_id", "bad_words_ids")


def trim(loaded: Loaded, rows: Iterable[Mapping[str, Any]]) -> Loaded:
    """The same model with fewer pieces. Raises DoctuneError where the model is no Marian with one vocabulary for both sides."""
    check_trimmable(loaded.model.config)
    tokenizer = loaded.tokenizer
    if tokenizer.separate_vocabs:
        raise DoctuneError(
            "trim_vocabulary wants one vocabulary for both languages, but this base has two; set it to false"
        )
    used: set[int] = set()
    for row in rows:
        example = encode_pair(
            tokenizer, loaded.recipe, row["en"], row["zh"], WHOLE, row.get("start", 1), row.get("task", TRANSLATE)
        )
        used.update(example.input_ids, example.labels)
    kept = sorted(
        number for piece, number in tokenizer.encoder.items() if number in used or _is_safe(piece, number, tokenizer)
    )
    return loaded._replace(model=_with_rows(loaded.model, kept), tokenizer=_with_pieces(tokenizer, kept))


def check_trimmable(config: Any) -> None:
    if config.model_type != "marian":
        raise DoctuneError(
            f"trim_vocabulary is for Marian models (OPUS-MT, base/), but this one is {config.model_type}; set it to false"
        )


def _is_safe(piece: str, number: int, tokenizer: Any) -> bool:
    """Pieces that any text may need: single characters, bytes, placeholders, language codes, specials."""
    return (
        len(piece.removeprefix("\u2581")) <= 1
        or number in tokenizer.all_special_ids
        or number in tokenizer.added_tokens_decoder
        or piece[0] in "<⟦>"
    )


def _with_pieces(tokenizer: Any, kept: list[int]) -> Any:
    """The tokenizer with the kept pieces, numbered anew in their order."""
    from sentencepiece import sentencepiece_model_pb2
    from transformers import AutoTokenizer

    messages: Any = sentencepiece_model_pb2  # their types are made on import
    place = {old: new for new, old in enumerate(kept)}
    vocabulary = {piece: place[number] for piece, number in tokenizer.encoder.items() if number in place}
    with tempfile.TemporaryDirectory(prefix="doctune-vocabulary-") as name:
        folder = Path(name)
        tokenizer.save_pretrained(folder)
        (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
        for side in ("source.spm", "target.spm"):
            model = messages.ModelProto()
            model.ParseFromString((folder / side).read_bytes())
            pieces = [piece for piece in model.pieces if piece.type != NORMAL or piece.piece in vocabulary]
            del model.pieces[:]
            model.pieces.extend(pieces)
            (folder / side).write_bytes(model.SerializeToString())
        path = folder / "tokenizer_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        added = config.get("added_tokens_decoder", {})
        config["added_tokens_decoder"] = {str(place[int(number)]): token for number, token in added.items()}
        path.write_text(json.dumps(config, ensure_ascii=False), encoding="utf-8")
        (folder / "added_tokens.json").unlink(missing_ok=True)
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def _with_rows(model: Any, kept: list[int]) -> Any:
    """The model with the kept rows of its embeddings, which are its output layer, and of the constant bias."""
    import copy

    import torch

    place = {old: new for new, old in enumerate(kept)}
    config, generation = copy.deepcopy(model.config), copy.deepcopy(model.generation_config)
    for owner in (config, generation):
        for name in IDS:
            if getattr(owner, name, None) is not None:
                setattr(owner, name, _renumbered(getattr(owner, name), place))
    config.vocab_size = config.decoder_vocab_size = len(kept)
    rows = torch.tensor(kept)
    weights = {}
    for name, tensor in model.state_dict().items():
        if name == "final_logits_bias":
            weights[name] = tensor.index_select(1, rows)
        else:
            weights[name] = tensor.index_select(0, rows) if name.endswith(BY_PIECE) else tensor
    small = type(model)(config)
    small.load_state_dict(weights)
    small.generation_config = generation
    return small.to(model.dtype).train(model.training)  # one that is made anew would drop out


def _renumbered(ids: Any, place: Mapping[int, int]) -> Any:
    return [_renumbered(one, place) for one in ids] if isinstance(ids, list) else place[ids]
