"""Terms of the English found and judged in the Chinese: inflection, markup, overlaps, forbidden words, a user's glossary."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctune.errors import DoctuneError
from doctune.scoring.metrics import estimate, score
from doctune.terms import TERMS, breakdown
from doctune.terms.finding import Finder
from doctune.terms.glossary import OWN, Entry, Glossary, TermList, key, load
from doctune.terms.inflection import forms
from doctune.terms.judging import Judge
from doctune.terms.metric import metric_of

FINDER = Finder(load())
JUDGE = Judge(load())


def glossary(*entries: Entry) -> Glossary:
    terms = TermList(title="t", licence="CC0-1.0", attribution="a", terms=list(entries))
    return Glossary(name="own", version=1, lists=[terms])


@pytest.mark.parametrize(
    ("word", "verb", "form"),
    [
        ("node", False, "nodes"),
        ("policy", False, "policies"),
        ("hash", False, "hashes"),
        ("evict", True, "evicted"),
        ("scale", True, "scaling"),
        ("scale", True, "scaled"),
        ("log", True, "logging"),
        ("label", True, "labelled"),
        ("label", True, "labeled"),
        ("proxy", True, "proxied"),
        ("queue", True, "queuing"),
    ],
)
def test_a_form_is_made(word: str, verb: bool, form: str) -> None:
    assert form in forms(word, verb)


@pytest.mark.parametrize(("word", "other"), [("node", "noded"), ("author", "authorize"), ("image", "imaging")])
def test_a_noun_is_not_conjugated(word: str, other: str) -> None:
    assert other not in forms(word)


FOUND = {
    "plural": ("Two taints keep it away.", ["taint"]),
    "past tense": ("The Pod was evicted at night.", ["Pod", "evict"]),
    "participle": ("Draining takes a while.", ["drain"]),
    "any case": ("CLUSTER names", []),  # what shouts may be a name
    "heading case": ("Persistent Volumes Explained", ["persistent volume"]),
    "hyphen for space": ("a load-balancer and an anti affinity rule", ["load balancer", "anti-affinity"]),
    "one word": ("its lifecycle and its life cycle", ["life cycle"]),
    "possessive": ("the node's owner", ["node", "owner"]),
    "longest wins": ("the service account token expires", ["service account token"]),
    "longer and shorter apart": ("a service account of that service", ["service account", "service"]),
    "once a row": ("a node beside a node beside nodes", ["node"]),
    "kind and word": ("A Deployment is no deployment.", ["Deployment", "deployment"]),
    "kind run together": ("one ConfigMap, two ConfigMaps", ["ConfigMap"]),
    "emphasis": ("a **persistent** volume", ["persistent volume"]),
    "link text": ("see [worker nodes](/docs/cluster/node/)", ["worker node"]),
    "tooltip text": ('a {{< glossary_tooltip text="taint" term_id="node" >}} here', ["taint"]),
    "tooltip without text": ('{{< glossary_tooltip term_id="node" >}} first', []),
    "inline code": ("run `drain the node` now", []),
    "code tag": ("the <code>node</code> field", []),
    "address": ("at https://example.org/cluster/node and on", []),
    "outward link": ("as [the cluster handbook](https://example.org/a) tells", []),
    "option": ("pass --cluster-cidr=node or -cluster to it", []),
    "field path": ("set spec.node.volume there", []),
    "path": ("look into /etc/cluster/node first", []),
    "quoted value": ("one of \"node\" or 'cluster'", []),
    "name with hyphens": ("ask default-token-controller", []),
    "two parts": ("cluster-wide rules", ["cluster"]),
    "no phrase over code": ("persistent `x` volume", ["volume"]),
    "no phrase over a comma": ("load, balancer", []),
    "skipped idiom": ("please log in to Windows Server", []),
    "means something else": ("a vector image of the diagram", []),
    "not part of a word": ("subclusters and nodeless imagery", []),
}


@pytest.mark.parametrize("case", FOUND)
def test_terms_are_found(case: str) -> None:
    text, wanted = FOUND[case]
    assert [entry.en for entry in FINDER.find(text)] == wanted


JUDGED = {
    "accepted": ("Taint the node.", "给该节点打上污点。", {"taint": True, "node": True}),
    "another accepted one": ("a namespace", "一个命名空间", {"namespace": True}),
    "missing": ("The cluster is healthy.", "它很健康。", {"cluster": False}),
    "forbidden": ("a memory threshold", "内存的阀值", {"memory": True, "threshold": False}),
    "forbidden beside accepted": ("the node's name", "节点的名称，即结点名", {"node": False}),
    "forbidden for another term": (
        "A disruption may interrupt it.",
        "干扰可能会中断它。",
        {"disruption": True, "interrupt": True},
    ),
    "forbidden across two words": ("Join your cluster.", "为你的集群集成插件。", {"cluster": True}),
    "kind kept": ("Two Pods run.", "有两个 Pod 在运行。", {"Pod": True}),
    "kind in lower case": ("Two Pods run.", "有两个 pod 在运行。", {"Pod": False}),
    "kind translated": ("Read the Secret.", "读取该秘密。", {"Secret": False}),
    "kind within a word": ("Read the Secret.", "读取 SecretStore。", {"Secret": False}),
    "no space": ("the API server", "该API服务器", {"API server": True}),
    "inside a link": ("see [volumes](/docs/v/)", "参阅[卷](/zh-cn/docs/v/)", {"volume": True}),
    "in a link's target only": ("see [volumes](/docs/v/)", "参阅[这里](/卷/)", {"volume": False}),
    "in bold": ("a **rolling update**", "一次**滚动更新**", {"rolling update": True}),
    "the English in between": ("admission webhooks", "准入（Admission）Webhook", {"admission webhook": True}),
    "words in between": (
        "Pull the image: image pull.",
        "拉取该镜像",
        {"pull": True, "image": True, "image pull": True},
    ),
    "a term not rendered elsewhere": ("evict the Pod", "驱赶该 Pod", {"evict": False, "Pod": True}),
    "nothing to judge": ("It works well.", "它工作良好。", {}),
    "empty": ("Drain the node.", "", {"drain": False, "node": False}),
}


@pytest.mark.parametrize("case", JUDGED)
def test_renderings_are_judged(case: str) -> None:
    english, chinese, wanted = JUDGED[case]
    assert {term.entry.en: term.right for term in JUDGE(english, chinese)} == wanted


def test_the_forbidden_rendering_is_named() -> None:
    (term,) = JUDGE("these thresholds", "这些阀值，阀值")
    assert term.forbidden == ("阀值",)


@settings(deadline=None, max_examples=50)
@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_is_judged(english: str, chinese: str) -> None:
    found = JUDGE(f"The node has a taint.\n\n{english}", chinese)
    assert [term.entry.en for term in found][:2] == ["node", "taint"]
    assert len({term.entry.en for term in found}) == len(found), "each term once"
    for term in found:
        assert not (term.right and term.forbidden)
        assert not term.right or any(set(accepted) & set(chinese) for accepted in term.entry.accepted)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["该节点", "有污点", "的集群", "结点", "Pod ", "。", "（Pod）", "**"]), max_size=6))
def test_more_text_takes_nothing_away_but_by_a_forbidden_word(parts: list[str]) -> None:
    english, some = "The node of a cluster has a taint, the Pod has none.", "".join(parts)
    before = {term.entry.en for term in JUDGE(english, some) if term.right}
    after = {term.entry.en for term in JUDGE(english, some + "。这里再说一句。") if term.right}
    assert before <= after


@settings(deadline=None, max_examples=50)
@given(st.sampled_from([entry for entry in load().entries if not entry.skip]), st.data())
def test_every_accepted_rendering_is_right(entry: Entry, data: st.DataObject) -> None:
    rendering = data.draw(st.sampled_from(entry.accepted)).replace("...", "某些")
    judge = Judge(glossary(entry))
    (term,) = judge(data.draw(st.sampled_from(entry.spellings)), f"这里是{rendering}，没错")
    assert term.right


ROWS = [
    ("Taint the node.", "给该节点打上污点。"),
    ("A node of the cluster", "群集的一个结点"),
    ("It works.", "它可用。"),
]


def test_the_metric_counts_terms_and_those_right() -> None:
    sources, chinese = ([row[side] for row in ROWS] for side in (0, 1))
    stats = TERMS.statistics(chinese, chinese, sources)
    assert stats.tolist() == [[2, 2], [2, 0], [0, 0]]
    assert score(TERMS, stats) == 50.0
    assert score(TERMS, stats[2:]) == 100.0  # nothing judged, nothing wrong
    found = estimate(TERMS, stats, samples=200, seed=1)
    assert 0 <= found.low <= 50 <= found.high <= 100
    assert TERMS.corpus(np.zeros((4, 3, 2))).shape == (4, 3)


def test_the_metric_wants_a_source_for_each_row() -> None:
    with pytest.raises(ValueError, match="got 0 and 1"):
        TERMS.statistics(["节点"], ["节点"])


def test_the_breakdown_names_what_is_wrong_first() -> None:
    sources, chinese = ([row[side] for row in ROWS] for side in (0, 1))
    assert breakdown(chinese, chinese, sources) == [
        {"term": "node", "of": 2, "right": 1, "forbidden": 1, "found": "结点"},
        {"term": "cluster", "of": 1, "right": 0, "forbidden": 1, "found": "群集"},
        {"term": "taint", "of": 1, "right": 1, "forbidden": 0, "found": ""},
    ]
    assert breakdown([], [], []) == []


OURS = """\
name: tea
version: 3
lists:
- title: Words of tea
  licence: CC0-1.0
  attribution: A tea house
  terms:
  - {en: steep, verb: true, zh: [冲泡, 泡...茶], forbidden: [浸没]}
  - {en: Oolong, keep: true, zh: [乌龙]}
"""


def test_another_glossary_judges_by_its_own_terms(tmp_path: Path) -> None:
    path = tmp_path / "tea.yaml"
    path.write_text(OURS, encoding="utf-8")
    tea = metric_of(path)
    sources = ["Steeping Oolong on a node", "Oolong is steeped"]
    chinese = ["在结点上泡一壶好茶：Oolong", "乌龙要浸没"]
    assert tea.statistics(chinese, chinese, sources).tolist() == [[2, 2], [2, 1]]
    assert [row["term"] for row in breakdown(chinese, chinese, sources, path)] == ["steep", "Oolong"]
    signature = tea.signature(1000, 7)
    assert signature.startswith("nrefs:0|bs:1000|seed:7|count:distinct|glossary:tea|terms:2|hash:")
    assert signature.endswith("|version:3")
    other = tmp_path / "more.yaml"
    other.write_text(OURS.replace("乌龙]", "乌龙, 青茶]"), encoding="utf-8")
    assert metric_of(other).signature(1000, 7) != signature


MISTAKES = {
    "unknown key": (("zh: [乌龙]", "zh: [乌龙], colour: blue"), "lists.0.terms.1.colour: unknown key"),
    "no version": (("version: 3\n", ""), "version: missing"),
    "no attribution": (("  attribution: A tea house\n", ""), "lists.0.attribution: missing"),
    "nothing accepted": (("keep: true, zh: [乌龙]", "forbidden: [红茶]"), "wanted a rendering in zh, or keep: true"),
    "accepted and forbidden": (("[浸没]", "[冲泡]"), "accepted or forbidden, not both: 冲泡"),
    "twice": (("en: Oolong", "en: STEEP"), "wanted one entry a spelling"),
    "skip with renderings": (("keep: true", "skip: true"), "wanted no rendering with skip: true"),
    "not English": (("en: Oolong", "en: 乌龙"), "lists.0.terms.1.en"),
    "a gap at the end": (("泡...茶", "泡..."), "wanted text before and after"),
    "no mapping": ((OURS, "- tea\n"), "valid dictionary"),
    "no YAML": ((OURS, "a: [\n"), "is not valid YAML"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_in_a_glossary_are_named(case: str, tmp_path: Path) -> None:
    (old, new), wanted = MISTAKES[case]
    assert old in OURS
    path = tmp_path / "tea.yaml"
    path.write_text(OURS.replace(old, new), encoding="utf-8")
    with pytest.raises(DoctuneError) as error:
        load(path)
    assert wanted in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_glossary_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DoctuneError, match="no file, wanted a glossary"):
        load(tmp_path / "none.yaml")


# Every term of the style guide's own list (terms are no sentences), so that none is lost when entries are mended.
GUIDE = """API Server; GA; general availability; addons; admission controller; affinity; annotation; anti-affinity; attach;
authenticate; authorize; authorizer; autoscale; bearer token; capabilities; certificate authority; certificate; claim;
cloud provider; cluster; condition; control loop; control plane; controller; controller manager; credential; custom;
daemon; dashboard; dependent; deprecated; deprecation; desired; desired state; detach; distribution; disruption; drain;
endpoint; egress; evict; eviction; feature gate; federation; flags; grace period; graceful termination; hairpin; hash;
headless service; healthcheck; hook; host; hosting; idempotent; image; image registry; ingress; init container; key;
label; label selector; lifecycle; limit; liveness probe; load balance; load balancer; log flush; loopback; manifest;
master node; metric; mount; namespace; orphans; override; owner; pending; persistent volume; persistent volume claim;
pipeline; prerequisites; priority class; probe; provision; pull; push; quota; readiness probe; replica; repo; repository;
revision; role; role binding; rolling update; rollout; rotate; round robin; runtime; scale in; scale out; scale up;
scale down; scale; scheduler; service; service account; service account token; service discovery; service mesh; session;
sidecar; skew; spec; specification; startup probe; stateless; static pod; stderr; stdin; stdout; storage class; taint;
threshold; toleration; topology; topology spread constraint; traffic; unmount; use case; volume; worker node; workload"""


@pytest.mark.parametrize("term", [" ".join(term.split()) for term in GUIDE.split(";")])
def test_the_terms_of_the_style_guide_are_there(term: str) -> None:
    assert FINDER.find(term), f"{term}: not found"
    assert len(FINDER.find(term)) == 1


def test_no_rendering_of_the_own_glossary_says_two_things() -> None:
    accepted: dict[tuple[str, ...], set[str]] = {}
    for entry in load().entries:
        for text in entry.spellings:
            accepted.setdefault(key(text), set()).update(entry.accepted)
    for entry in load().entries:
        for text in entry.spellings:
            assert not accepted[key(text)] & set(entry.forbidden), entry.en


def test_the_human_reference_scores_high_and_another_rows_chinese_does_not() -> None:
    pairs = Path(__file__).parents[2] / "shared" / "corpora" / "general" / "pairs.jsonl"
    if not pairs.is_file():
        pytest.skip("no general pairs beside the checkout: accuracy of human translations not checked")
    with pairs.open(encoding="utf-8") as file:
        rows = [json.loads(next(file)) for _ in range(2000)]
    english, chinese = ([row[side] for row in rows] for side in ("en", "zh"))
    human = score(TERMS, TERMS.statistics(chinese, chinese, english))
    shifted = score(TERMS, TERMS.statistics(chinese[1:] + chinese[:1], chinese, english))
    assert human > 60 > 40 > shifted, (human, shifted)


def test_the_own_glossary_says_whose_it_is() -> None:
    lists = load(OWN).lists
    assert all(terms.licence and terms.attribution for terms in lists)
    guide = lists[0]
    assert (
        guide.licence == "CC-BY-4.0"
        and "The Kubernetes Authors" in guide.attribution
        and "changed" in guide.attribution
    )
