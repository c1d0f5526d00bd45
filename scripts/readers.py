#!/usr/bin/env python3
"""Reads every table of a lake with Polars, with pyarrow through deltalake, and with DuckDB, and compares what they saw:
rows, the sum over `record_offset`, the smallest and largest time, and how many distinct ids there are.

    scripts/readers.sh LAKE          (makes an environment with the pinned packages, then runs this)

Exits with 1 when two readers disagree, with 2 when there is nothing to read. Reads only.
"""

import importlib.util
import pathlib
import sys

TIMES = ("time", "window_start", "pane_end", "at")
IDS = ("event_uid", "finding_uid")


def facts(rows, offsets, low, high, ids):
    """What a reader says of a table. Times are microseconds since the epoch; no rows have no times."""
    return {"rows": rows, "offsets": offsets or 0, "min": low, "max": high, "ids": ids}


def with_polars(path, columns):
    import polars as pl

    frame = pl.scan_delta(str(path))
    picked = [pl.len().alias("rows")]
    if columns["offset"]:
        picked.append(pl.col(columns["offset"]).sum().alias("offsets"))
    if columns["time"]:
        time = pl.col(columns["time"]).dt.epoch("us")
        picked += [time.min().alias("low"), time.max().alias("high")]
    if columns["id"]:
        picked.append(pl.col(columns["id"]).drop_nulls().n_unique().alias("ids"))
    row = frame.select(picked).collect().to_dicts()[0]
    return facts(row["rows"], row.get("offsets"), row.get("low"), row.get("high"), row.get("ids"))


def with_pyarrow(path, columns):
    import deltalake
    import pyarrow as pa
    import pyarrow.compute as pc

    names = [name for name in columns.values() if name]
    table = deltalake.DeltaTable(str(path)).to_pyarrow_table(columns=names or None)

    def micros(scalar):
        value = scalar.cast(pa.int64()).as_py()
        return value

    offsets = pc.sum(table[columns["offset"]]).as_py() if columns["offset"] else None
    low = high = None
    if columns["time"]:
        bounds = pc.min_max(table[columns["time"]].cast(pa.timestamp("us", "UTC")))
        low, high = micros(bounds["min"]), micros(bounds["max"])
    ids = pc.count_distinct(table[columns["id"]], mode="only_valid").as_py() if columns["id"] else None
    return facts(table.num_rows, offsets, low, high, ids)


def duckdb_connection():
    """DuckDB with its delta extension from the Python package, so that nothing is fetched while running."""
    import duckdb

    folder = pathlib.Path(importlib.util.find_spec("duckdb_extension_delta").origin).parent
    (extension,) = folder.glob(f"extensions/v{duckdb.__version__}/delta.duckdb_extension")
    connection = duckdb.connect()
    connection.load_extension(str(extension))
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def with_duckdb(path, columns):
    picked = ["count(*) AS n"]
    picked.append(f"sum({columns['offset']})" if columns["offset"] else "NULL")
    if columns["time"]:
        picked += [f'epoch_us(min("{columns["time"]}"))', f'epoch_us(max("{columns["time"]}"))']
    else:
        picked += ["NULL", "NULL"]
    picked.append(f"count(DISTINCT {columns['id']})" if columns["id"] else "NULL")
    query = f"SELECT {', '.join(picked)} FROM delta_scan(?)"
    rows, offsets, low, high, ids = duckdb_connection().execute(query, [str(path)]).fetchone()
    return facts(rows, int(offsets) if offsets is not None else None, low, high, ids)


READERS = {"polars": with_polars, "pyarrow": with_pyarrow, "duckdb": with_duckdb}


def columns_of(path):
    import deltalake

    names = {field.name for field in deltalake.DeltaTable(str(path)).schema().fields}
    first = lambda candidates: next((name for name in candidates if name in names), None)
    return {"offset": first(("record_offset",)), "time": first(TIMES), "id": first(IDS)}


def main(lake):
    tables = sorted(log.parent for log in pathlib.Path(lake).glob("*/_delta_log"))
    if not tables:
        print(f"no tables in {lake}", file=sys.stderr)
        return 2
    agreed = True
    for path in tables:
        columns = columns_of(path)
        seen = {name: read(path, columns) for name, read in READERS.items()}
        same = len({tuple(sorted(fact.items(), key=lambda item: item[0])) for fact in seen.values()}) == 1
        agreed &= same
        if same:
            print(f"{path.name}: all agree: {seen['polars']}")
        else:
            for name, fact in seen.items():
                print(f"{path.name}: {name} says {fact}", file=sys.stderr)
    return 0 if agreed else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    sys.exit(main(sys.argv[1]))
