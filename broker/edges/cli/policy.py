"""Do the policies hold together, and mean what was meant? `broker policy …`, with or without a server."""

from broker.edges.cli import policy_cases, policy_check, policy_fmt, policy_show, policy_simulate
from broker.edges.cli.app import noun

app = noun("Policies: check, fmt, test, show, simulate.")
app.command()(policy_check.check)
app.command()(policy_fmt.fmt)
app.command("test")(policy_cases.run_tests)
app.command()(policy_show.show)
app.command()(policy_simulate.simulate)
