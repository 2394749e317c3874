"""Embedding tables in int8, one scale a row.

    shrink_embeddings(graph)      # Gather(table, ids)  ->  Cast(Gather(table8, ids)) * Gather(scales, ids)

ONNX Runtime's own quantisation of a Gather has one scale for a whole table, whose rows differ widely in size; with a
scale a row the error is at most a 254th of the row's largest number. Tables are half of a small model's bytes.
"""

from typing import Any

SMALLEST = 1 << 14  # numbers; below this a table is not worth four nodes


def shrink_embeddings(graph: Any) -> int:
    """Quantise, in place, the float tables (rows, width) that Gather nodes of a GraphProto look rows up in.

    Returns how many. A small table, or one that another kind of node reads too, stays as it is.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    tables = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 2}
    lookups = {name: [n for n in graph.node if n.op_type == "Gather" and n.input[0] == name] for name in tables}
    others = {name for node in graph.node for name in node.input if name in tables and node not in lookups[name]}
    count = 0
    for name, table in tables.items():
        if not lookups[name] or name in others or not all(map(_by_row, lookups[name])):
            continue
        if table.dims[0] * table.dims[1] < SMALLEST:
            continue
        values = numpy_helper.to_array(table)
        scales = (np.abs(values).max(axis=1, keepdims=True) / 127).astype(np.float32)
        scales[scales == 0] = 1
        graph.initializer.remove(table)
        graph.initializer.append(numpy_helper.from_array(np.rint(values / scales).astype(np.int8), f"{name}.int8"))
        graph.initializer.append(numpy_helper.from_array(scales, f"{name}.scale"))
        for node in lookups[name]:
            ids, found = node.input[1], node.output[0]
            place = list(graph.node).index(node)
            graph.node.remove(node)
            for new in reversed(
                [
                    helper.make_node("Gather", [f"{name}.int8", ids], [f"{found}.int8"], axis=0),
                    helper.make_node("Gather", [f"{name}.scale", ids], [f"{found}.scale"], axis=0),
                    helper.make_node("Cast", [f"{found}.int8"], [f"{found}.cast"], to=TensorProto.FLOAT),
                    helper.make_node("Mul", [f"{found}.cast", f"{found}.scale"], [found]),
                ]
            ):
                graph.node.insert(place, new)
        count += 1
    return count


def _by_row(node: Any) -> bool:
    return all(attribute.i == 0 for attribute in node.attribute if attribute.name == "axis")
