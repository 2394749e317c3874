"""A small world to promote in: test rows, splits, a real MLflow, and models that were planted.

    world = World.make(fresh_mlruns, tmp_path)
    version = world.plant("better", lambda en, zh: zh)          # a registered version that ships these translations
    world.promote(version.number).verdict                       # by gates, scoring and a fresh process: all real

A planted model is a real registered version of real packages; its copy of doctune holds an engine that looks up what
it was taught. So everything but the quality of translations is what it would be.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from doctune.files import hash_path, write_json, write_jsonl, write_text
from doctune.promotion.evidence import Knobs, Places
from doctune.promotion.params import PromoteParams
from doctune.promotion.promoting import Decision, promote
from doctune.promotion.smoke import SENTENCES
from doctune.registry import api as registry
from doctune.registry.champions import champion_of, history
from doctune.registry.store import Store
from doctune.registry.versions import Version
from doctune.scoring import EvaluateParams
from doctune.splitting import SplitParams
from tests.test_registry import everything, new_store, write_files

ROOT = Path(__file__).parents[1]
LIMITS = PromoteParams(
    min_bleu_gain=0.5,
    max_p_value=0.05,
    floors={"structure": 85.0, "terms": 75.0},
    ceilings={"degenerate": 3.0},
    losses={"structure": 1.0, "terms": 1.0, "degenerate": 1.0},
    max_general_loss=10.0,
    max_int8_loss=1.0,
    max_leaked=0,
)
EVALUATE = EvaluateParams(
    bootstrap_samples=300,
    seed=12345,
    largest_changes=5,
    glossary=str(ROOT / "doctune" / "terms" / "glossary.yaml"),
    general="replaced.jsonl",
    comet="",
)
PAIRS = (
    (
        "The scheduler assigns the Pod to a node with `nodeSelector`.",
        "调度器按照 `nodeSelector` 把 Pod 分配到一个节点。",
    ),
    ("Run `kubectl get pods` and look at the column STATUS.", "运行 `kubectl get pods` 并查看 STATUS 一列。"),
    ("The control plane keeps the state of the cluster in `etcd`.", "控制平面把集群的状态保存在 `etcd` 中。"),
    ("A label is a pair of a key and a value.", "标签是由键和值组成的一对数据。"),
    ("Set `replicas` to 3 and apply the manifest again.", "把 `replicas` 设为 3，然后再次应用该清单。"),
    ("Every node in the cluster runs the kubelet.", "集群中的每个节点都运行 kubelet。"),
    ("The controller creates another Pod when one fails.", "某个 Pod 失败时，控制器会另外创建一个 Pod。"),
    ("Use `kubectl drain` before you turn off the node.", "在关闭节点之前先使用 `kubectl drain`。"),
    ("Save this text as `quota.yaml` in an empty folder.", "把这段文本保存为空文件夹中的 `quota.yaml`。"),
    ("The certificate of the API server expires after a year.", "API 服务器的证书会在一年之后过期。"),
    ("Add the annotation to the manifest by hand.", "手动把该注解添加到清单中。"),
    ("The flag `--dry-run` shows what would happen.", "标志 `--dry-run` 显示将会发生什么。"),
    ("Only the controller may change the field `status`.", "只有控制器可以修改 `status` 字段。"),
    ("Without a label, the Pod is not selected.", "没有标签的 Pod 不会被选中。"),
    ("The cluster has two nodes with a fast disk.", "该集群有两个带有高速磁盘的节点。"),
    ("Read the file `audit.log` on the control plane.", "读取控制平面上的文件 `audit.log`。"),
    ("A scheduler of your own may take over some Pods.", "你自己的调度器可以接管一部分 Pod。"),
    ("Delete the old certificate with `rm old.crt`.", "用 `rm old.crt` 删除旧证书。"),
    ("This annotation is read once, when the Pod starts.", "这个注解只在 Pod 启动时读取一次。"),
    ("Wait until `kubectl rollout status` returns.", "一直等到 `kubectl rollout status` 返回。"),
    ("Each node reports its free memory every minute.", "每个节点每分钟报告一次自己的空闲内存。"),
    ("The controller compares what is with what should be.", "控制器把实际情况与期望情况进行比较。"),
    ("Write the address into `/etc/hosts` of each node.", "把该地址写入每个节点的 `/etc/hosts`。"),
    ("Move the cluster to the new network step by step.", "把集群逐步迁移到新的网络。"),
)
GENERAL = (
    ("The train to the coast leaves at noon.", "开往海边的火车中午出发。"),
    ("Close the window before it rains.", "下雨之前请关上窗户。"),
    ("My neighbour grows tomatoes on her balcony.", "我的邻居在阳台上种西红柿。"),
    ("The museum is free on Sundays.", "博物馆星期天免费开放。"),
    ("This bridge was built a hundred years ago.", "这座桥建于一百年前。"),
)
TRAIN = (
    ("A volume outlives its container.", "卷的寿命比它的容器长。"),
    ("Choose a name for the secret.", "为 Secret 选一个名字。"),
)
SMOKE = (
    "等待该 Pod。",
    "服务提供一个地址。",
    "运行 `kubectl get pods`。",
    "参阅[部署](/zh-cn/docs/x/)。",
    "准备开始",
    "重新启动容器。",
)
ENGINE = '''

class _Planted:
    """What a test planted: translations by their English."""

    def __init__(self, table):
        self.table = table

    def translate(self, texts, task="translate"):
        return [self.table[text] for text in texts]


def load_engine(weights, remote_code=False, decoding=None):
    import json
    import os
    import time

    planted = json.loads(next(weights.glob("*/planted.json")).read_text(encoding="utf-8"))
    if "pid" in planted:  # it never answers
        Path(planted["pid"]).write_text(str(os.getpid()), encoding="utf-8")
        time.sleep(600)
    return _Planted(planted["table"])
'''

Teach = Callable[[str, str], str]  # (English, the reference) -> what the model makes of it


@dataclass(frozen=True)
class World:
    root: Path
    store: Store
    knobs: Knobs
    places: Places

    @classmethod
    def make(cls, fresh_mlruns: Path, root: Path, leaked: int = 0) -> "World":
        """Splits, general text with the base's translations of it, an MLflow without versions; `leaked` test rows in train."""
        general = root / "general.jsonl"
        evaluate = EVALUATE.model_copy(update={"general": str(general)})
        split = SplitParams(
            seed=1,
            test=0.1,
            valid=0.1,
            max_test=100,
            max_valid=100,
            train_only=[],
            near=0.8,
            near_copies=3,
            generated=[],
            max_generated=1,
            test_since=False,
        )
        places = Places(
            splits=root / "data/splits",
            hypotheses=root / "data/tuned.jsonl",
            general_base=root / "data/base.general.jsonl",
            export_report=root / "reports/export.json",
            memo=root / "judged",
        )
        test = rows(PAIRS, "test")
        write_jsonl(places.splits / "test.jsonl", test)
        train = [*rows(TRAIN, "train"), *({**row, "page": "learnt.md"} for row in test[:leaked])]
        write_jsonl(places.splits / "train.jsonl", train)
        write_jsonl(general, rows(GENERAL, "general"))
        write_jsonl(places.general_base, [{"id": row["id"], "hyp": row["zh"]} for row in rows(GENERAL, "general")])
        return cls(root, new_store(fresh_mlruns, root), Knobs(LIMITS, evaluate, split), places)

    def copied(self, to: Path) -> "World":
        """The same in another folder: making one takes seconds."""
        from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

        _artifact_repos_cache.clear()  # by id of run or model, which are the same in all copies
        shutil.copytree(self.root, to)
        moved = {name: to / path.relative_to(self.root) for name, path in vars(self.places).items()}
        evaluate = self.knobs.evaluate.model_copy(update={"general": str(to / "general.jsonl")})
        return World(to, registry.connect(to), replace(self.knobs, evaluate=evaluate), Places(**moved))

    def again(self) -> "World":
        """The same from another process."""
        return replace(self, store=registry.connect(self.root))

    def plant(
        self, name: str, shipped: Teach, torch: Teach | None = None, general: Teach | None = None, **more: str
    ) -> Version:
        """Register a version that ships what `shipped` says, and whose PyTorch model says what `torch` does (the same)."""
        files = write_files(self.root / "made" / name, name)
        files = replace(files, splits=self.places.splits)
        assert files.onnx
        write_json(files.onnx / "planted.json", {"table": self._table(shipped, general), **more})
        write_json(files.model / "planted.json", {"table": self._table(torch or shipped, general)})
        version = everything(self.store, files)
        for uri in filter(None, (version.source, version.shipped)):
            code = registry.fetch(self.store, uri) / "code/doctune/pyfunc.py"
            write_text(code, code.read_text(encoding="utf-8").partition("class _Planted")[0] + ENGINE)
        assert version.tags["onnx_hash"] == hash_path(files.onnx)
        wanted = rows(PAIRS, "test")
        by_torch = [{"id": row["id"], "hyp": (torch or shipped)(row["en"], row["zh"])} for row in wanted]
        write_jsonl(self.places.hypotheses, by_torch)
        facts = {"onnx_hash": version.tags["onnx_hash"], "hypotheses_hash": hash_path(self.places.hypotheses)}
        write_json(self.places.export_report, facts)
        return version

    def _table(self, teach: Teach, general: Teach | None) -> Mapping[str, str]:
        known = dict(zip(SENTENCES, SMOKE, strict=True))
        known |= {en: teach(en, zh) for en, zh in PAIRS}
        return known | {en: (general or perfect)(en, zh) for en, zh in GENERAL}

    def promote(self, wanted: str, force: str | None = None, stopped: Callable[[], bool] = lambda: False) -> Decision:
        return promote(self.store, "doctune", wanted, self.knobs, self.places, force, lambda text: None, stopped)

    def champion(self) -> str | None:
        """The champion's number, once it is certain that it is one: what it ships is there, and the history ends with it."""
        champion = champion_of(self.store, "doctune")
        if champion is None:
            return None
        assert champion.shipped and (registry.fetch(self.store, champion.shipped) / "MLmodel").is_file()
        assert history(self.store, "doctune")[-1].version == champion.number
        return champion.number


def rows(pairs: tuple[tuple[str, str], ...], page: str) -> list[dict[str, str]]:
    return [
        {"id": f"{page}-{index}", "en": en, "zh": zh, "page": f"docs/concepts/{page}.md", "kind": "paragraph"}
        for index, (en, zh) in enumerate(pairs)
    ]


def perfect(en: str, zh: str) -> str:
    return zh


def clumsy(en: str, zh: str) -> str:
    """Worse in every sentence, yet nothing that an absolute gate minds."""
    return zh.rstrip("。") + "的这一种情况。"


def failed(decision: Decision) -> list[str]:
    return [gate.gate for gate in decision.gates if not gate.passed]
