"""Peer of bench/train.py: TRL's SFTTrainer with PEFT's LoRA, in bf16 where the processor multiplies it: `random`, `grouped`
(by length) or `packed` batches.

python bench/sides/sft.py FOLDER grouped 12
"""

import sys
import tempfile

import torch
from common import IGNORED, Clock, Task, say
from datasets import Dataset
from peft import LoraConfig
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM
from trl import SFTConfig, SFTTrainer

folder, mode, steps = sys.argv[1:4]
task, clock = Task(folder, mode), Clock()
model = Qwen2ForCausalLM.from_pretrained(task.folder / "model", dtype=torch.float32)
words = Tokenizer(models.WordLevel({"<pad>": task.pad, "<end>": task.pad + 1}, unk_token="<pad>"))
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>")
longest = max(len(ids) for ids, _ in task.train)
options = {
    "random": {"per_device_train_batch_size": task.batch},
    "grouped": {"per_device_train_batch_size": task.batch, "train_sampling_strategy": "group_by_length"},
    "packed": {
        "packing": True,
        "max_length": longest,
        "per_device_train_batch_size": max(
            1, round(task.batch * sum(len(i) for i, _ in task.train) / len(task.train) / longest)
        ),
    },
}[mode]
trainer = SFTTrainer(
    model=model,
    args=SFTConfig(
        output_dir=tempfile.mkdtemp(),
        max_steps=int(steps),
        bf16=task.precision == "bf16",
        gradient_checkpointing=False,
        completion_only_loss=True,
        use_cpu=True,
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        seed=1,
        **options,
    ),
    train_dataset=Dataset.from_dict(
        {
            "input_ids": [ids for ids, _ in task.train],
            "completion_mask": [[int(label != IGNORED) for label in labels] for _, labels in task.train],
        }
    ),
    processing_class=tokenizer,
    peft_config=LoraConfig(
        task_type="CAUSAL_LM",
        lora_dropout=task.lora["dropout"],
        r=task.lora["r"],
        lora_alpha=task.lora["alpha"],
        target_modules=task.lora["targets"],
    ),
    callbacks=[clock],
)
own = trainer.data_collator


def collate(rows):
    clock.tokens += sum(len(row["input_ids"]) for row in rows)
    return own(rows)


trainer.data_collator = collate
trainer.train()
say(clock, trainer.model, task, judged=False)
