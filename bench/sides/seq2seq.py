"""Peer of bench/train.py: transformers' Seq2SeqTrainer, `plain` (its defaults) or `grouped`: batches of like length, and
bf16 where the processor multiplies it.

python bench/sides/seq2seq.py FOLDER plain 60 [--judged]
"""

import sys
import tempfile

import torch
import transformers
from common import Clock, Task, batch_of, say
from datasets import Dataset
from transformers import MarianMTModel, Seq2SeqTrainer, Seq2SeqTrainingArguments

folder, mode, steps = sys.argv[1:4]
task, clock = Task(folder, mode), Clock()
model = MarianMTModel.from_pretrained(task.folder / "model", dtype=torch.float32)
judged = "--judged" in sys.argv
options = {}
if mode == "grouped":
    newer = int(transformers.__version__.split(".")[0]) >= 5
    options = {
        "bf16": task.precision == "bf16",
        **({"train_sampling_strategy": "group_by_length"} if newer else {"group_by_length": True}),
    }
if judged:  # the same recipe on both sides
    options |= {"learning_rate": 3e-4, "lr_scheduler_type": "cosine", "adam_beta2": 0.98, "warmup_steps": 20}


def collate(rows):
    pairs = [[row["input_ids"], row["labels"]] for row in rows]
    clock.tokens += sum(len(source) + len(answer) for source, answer in pairs)
    batch = batch_of(task, pairs)
    return batch | {"decoder_input_ids": model.prepare_decoder_input_ids_from_labels(batch["labels"])}


trainer = Seq2SeqTrainer(
    model=model,
    args=Seq2SeqTrainingArguments(
        output_dir=tempfile.mkdtemp(),
        max_steps=int(steps),
        per_device_train_batch_size=task.batch,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=1,
        **options,
    ),
    train_dataset=Dataset.from_dict({"input_ids": [s for s, _ in task.train], "labels": [a for _, a in task.train]}),
    data_collator=collate,
    callbacks=[clock],
)
trainer.train()
say(clock, model, task, judged)
