"""Do the policies hold together, and mean what was meant? `broker policy …`, with or without a server."""

from broker.edges.cli import policy_cases, policy_check, policy_fmt
from broker.edges.cli.app import noun

app = noun("Policies: check, fmt, test.")
app.command()(policy_check.check)
app.command()(policy_fmt.fmt)
app.command("test")(policy_cases.run_tests)
