"""Which file is evidence for which article or control? Evidence for, never a statement that it is met."""

from dataclasses import dataclass

from broker.audit.evidence.tally import table

_HIGH_RISK = "2027-12-02 (Annex III; 2028-08-02 Annex I)"
"""Reg. (EU) 2024/1689 as amended by (EU) 2026/1744."""
RECORDS, CHANGES, PEOPLE = "logs/*/records.jsonl", "controls/changes.jsonl", "oversight/decisions.jsonl"
GUARDS, FOUND, QUALITY = "guardrails/summary.csv", "guardrails/decisions.jsonl", "quality/outcomes.csv"
INCIDENTS, REQUESTS, ART30 = "incidents/candidates.jsonl", "privacy/requests.jsonl", "privacy/art30.json"
AGENTS, POLICIES, TRUST = "inventory/agents.json", "controls/policies.json", "trust/changes.jsonl"


@dataclass(frozen=True, slots=True)
class Line:
    """Files that are evidence for a requirement; what stays with humans is in `left`."""

    framework: str
    requirement: str
    subject: str
    files: tuple[str, ...]
    applies: str = ""
    left: str = ""


LINES = (
    Line("AI Act", "12", "record-keeping", (RECORDS, "logs/*/checkpoints.txt"), _HIGH_RISK),
    Line(
        "AI Act",
        "13",
        "information for deployers",
        ("VERIFY.md", POLICIES),
        _HIGH_RISK,
        "instructions for use",
    ),
    Line("AI Act", "14", "human oversight", (PEOPLE,), _HIGH_RISK, "competence of the people"),
    Line(
        "AI Act",
        "15",
        "accuracy, robustness, cybersecurity",
        (QUALITY, GUARDS, CHANGES, TRUST),
        _HIGH_RISK,
        "accuracy",
    ),
    Line("AI Act", "19", "logs are kept", ("logs/*/leaves.bin", ART30), _HIGH_RISK),
    Line(
        "AI Act", "26", "duties of deployers", (PEOPLE, RECORDS, INCIDENTS), _HIGH_RISK, "use as instructed"
    ),
    Line(
        "AI Act",
        "50",
        "transparency",
        (RECORDS,),
        "2026-08-02 (50(2): 2026-12-02 for systems on the market before)",
        "telling the people concerned",
    ),
    Line(
        "AI Act",
        "72",
        "post-market monitoring",
        (QUALITY, GUARDS),
        "2026-08-02 (high-risk systems)",
        "the plan",
    ),
    Line(
        "AI Act",
        "73",
        "serious incidents",
        (INCIDENTS,),
        "2026-08-02 (high-risk systems)",
        "judgement, report",
    ),
    Line("GDPR", "5(2)", "accountability", (RECORDS, POLICIES), "2018-05-25"),
    Line("GDPR", "15, 20", "access, portability", (REQUESTS,), "2018-05-25", "answers given elsewhere"),
    Line("GDPR", "17", "erasure", (REQUESTS,), "2018-05-25", "systems behind the broker"),
    Line("GDPR", "25", "data protection by design", (FOUND, POLICIES), "2018-05-25"),
    Line("GDPR", "30", "records of processing", (ART30,), "2018-05-25", "controller, purposes, legal basis"),
    Line("GDPR", "32", "security of processing", (CHANGES, AGENTS, GUARDS), "2018-05-25"),
    Line("GDPR", "33", "breaches", (INCIDENTS,), "2018-05-25", "judgement, report within 72 h"),
    Line("ISO/IEC 42001", "A.6.2.6", "operation and monitoring", (QUALITY,)),
    Line("ISO/IEC 42001", "A.6.2.8", "event logs", (RECORDS,)),
    Line("ISO/IEC 42001", "A.8.4", "communication of incidents", (INCIDENTS,), "", "the communication"),
    Line("ISO/IEC 42001", "A.9", "use of AI systems", (POLICIES, PEOPLE)),
    Line("ISO/IEC 42001", "A.10.3", "suppliers", ("inventory/models.csv", ART30)),
    Line("NIST AI RMF", "GOVERN 1, 4", "policies, accountability", (POLICIES, CHANGES)),
    Line("NIST AI RMF", "MEASURE 2, 3", "measured and tracked", (QUALITY, GUARDS)),
    Line("NIST AI RMF", "MANAGE 4", "monitored, incidents", (INCIDENTS, PEOPLE)),
    Line("SOC 2", "CC6.1-CC6.3", "logical access", (AGENTS, PEOPLE, CHANGES)),
    Line("SOC 2", "CC7.2-CC7.4", "monitoring, incidents", (QUALITY, INCIDENTS)),
    Line("SOC 2", "CC8.1", "change management", (CHANGES, POLICIES)),
    Line("OWASP Agentic", "ASI01-ASI10", "threats to agents", (FOUND, GUARDS, RECORDS)),
    Line("OWASP MCP", "MCP08", "audit and telemetry", (RECORDS,)),
    Line("OWASP MCP", "MCP02, MCP03, MCP09", "scopes, poisoned tools, shadow servers", (CHANGES, AGENTS)),
)


def mapping_csv(counts: dict[str, int]) -> bytes:
    """A line for each requirement and file, with how many entries the file has in this pack."""
    rows = (
        (
            line.framework,
            line.requirement,
            line.subject,
            "evidence for",
            file,
            counts.get(file, ""),
            status(line, counts),
            line.applies,
            line.left,
        )
        for line in LINES
        for file in line.files
    )
    head = ("framework", "requirement", "subject", "relation", "evidence_path", "entries", "status")
    return table((*head, "applies_from", "left_to_people"), rows)


def status(line: Line, counts: dict[str, int]) -> str:
    """Whether this pack has something to say: what is left to people makes it a part at most."""
    if not any(_some(file, counts) for file in line.files):
        return "no_entries"
    return "partial" if line.left else "evidence_present"


def _some(file: str, counts: dict[str, int]) -> bool:
    return counts.get(file, 1) > 0
