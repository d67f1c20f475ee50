"""How is a run read? As Markdown, so that it can be pasted into `docs/reference/performance.md`."""

from typing import Any

HEAD = """\
| | concurrency | calls/s (min-max) | p50 ms | p95 ms | p99 ms | CPU ms per call |
|---|---|---|---|---|---|---|"""


def table(result: dict[str, Any]) -> str:
    lines = ["", _machine(result), "", HEAD]
    for name in ("direct", "relay", "broker"):
        lines += [_cell(name, concurrency, cell) for concurrency, cell in result[name].items()]
    return "\n".join([*lines, "", "| what | measured |", "|---|---|", *_rest(result)])


def _machine(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"{machine['cpus']} CPUs, {machine['system']}, Python {machine['python']}, load average at start "
        f"{machine['load_average']:.1f}; upstream: {result['upstream']}; median of {result['repeats']}; "
        f"took {result['took_s']:.0f} s"
    )


def _cell(name: str, concurrency: str, cell: dict[str, float]) -> str:
    rate = f"{cell['rps']:.0f} ({cell['rps_min']:.0f}-{cell['rps_max']:.0f})"
    times = " | ".join(f"{cell[key]:.2f}" for key in ("p50_ms", "p95_ms", "p99_ms", "cpu_ms_per_call"))
    return f"| {name} | {concurrency} | {rate} | {times} |"


def _rest(result: dict[str, Any]) -> list[str]:
    rest, listing = result["at_rest"], result["tools_list_500"]
    ratios = ", ".join(f"{ratio:.2f} at {c}" for c, ratio in result["broker_per_relay_rps"].items())
    memory = ", ".join(f"{name} {mib:.0f}" for name, mib in result["pss_mib"].items())
    rows = {
        "calls/s, broker per relay, by concurrency": ratios,
        "added p50 at concurrency 1 (broker - direct)": f"{result['added_p50_ms']:.2f} ms",
        "`tools/list`, 500 tools, warm, p50 (CPU)": _p50(listing),
        "token endpoint, p50 (CPU)": _p50(rest["token"]),
        "memory at rest, no connectors (PSS)": f"{rest['pss_mib']:.0f} MiB",
        "memory after the calls (PSS, MiB)": memory,
        "start-up to ready, no connectors": f"{rest['start_s']:.2f} s",
        "`broker --help`": f"{rest['help_ms']:.0f} ms",
    }
    return [f"| {what} | {value} |" for what, value in rows.items()]


def _p50(sample: dict[str, float]) -> str:
    return f"{sample['p50_ms']:.2f} ms ({sample['cpu_ms_per_call']:.2f} ms)"
