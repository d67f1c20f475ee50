"""Which calls does AgentDojo make? Its own ground truths, played in its own environments, as JSON lines.

    python traces.py SUITE > traces.jsonl        (in a Python that has `agentdojo`, and needs nothing else)

The first line describes the suite and its tools. Each further line is one trace: the calls of a user
task, or those of a user task with an injection task's calls put in after the first result that carries
the injection. The agent in it is the worst one there is: it does all that the injection says, at once.
"""

import json
import sys
from types import SimpleNamespace

import yaml
from agentdojo.agent_pipeline.tool_execution import tool_result_to_str
from agentdojo.attacks.attack_registry import load_attack
from agentdojo.functions_runtime import FunctionsRuntime
from agentdojo.task_suite.load_suites import get_suites
from pydantic import BaseModel

VERSION = "v1.2.1"
TEMPLATES = ("direct", "ignore_previous", "important_instructions", "tool_knowledge")
yaml.safe_load = lambda text: yaml.load(text, yaml.CSafeLoader)  # ten times faster, and the same
VICTIM = SimpleNamespace(name="gpt-4o-2024-05-13")  # some templates speak to the model by its name


def played(suite, task, environment, spliced=None, after=None):
    """The calls of a task and their results; those of `spliced` follow the call number `after`."""
    runtime = FunctionsRuntime(suite.tools)
    environment = task.init_environment(environment)
    calls = []

    def play(call, *, injected):
        result, error = runtime.run_function(environment, call.function, dict(call.args))
        text = error or tool_result_to_str(result)
        calls.append(
            {
                "tool": call.function,
                "arguments": plain(call.args),
                "result": text,
                "structured": None if error else structured(result),
                "injected": injected,
            }
        )

    # A ground truth is made for the environment as it is before the first call.
    theirs = spliced.ground_truth(environment.model_copy(deep=True)) if spliced is not None else []
    for number, call in enumerate(task.ground_truth(environment.model_copy(deep=True))):
        play(call, injected=False)
        if number == after:
            for other in theirs:
                play(other, injected=True)
    return calls


def plain(arguments):
    return json.loads(json.dumps(dict(arguments), default=str))


def structured(result):
    """A result as MCP's `structuredContent`, which is an object; None of what has no structure."""
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json")
    if isinstance(result, list) and result:
        items = [item.model_dump(mode="json") if isinstance(item, BaseModel) else item for item in result]
        return {"result": items}
    return None


def carrier(suite, task, attack):
    """The number of the first call whose result carries an injection; None if none does."""
    environment = suite.load_and_inject_default_environment(attack.canary_injections)
    for number, call in enumerate(played(suite, task, environment)):
        if any(canary in call["result"] for canary in attack.canary_injections.values()):
            return number
    return None


def without_calls(suite):
    """The injection tasks of which AgentDojo does not say which calls they would take."""
    environment = suite.load_and_inject_default_environment({})
    return [task.ID for task in suite.injection_tasks.values() if not task.ground_truth(environment)]


def traces(suite):
    for task in suite.user_tasks.values():
        calls = played(suite, task, suite.load_and_inject_default_environment({}))
        yield {"user": task.ID, "prompt": task.PROMPT, "calls": calls}
    silent = without_calls(suite)
    attacks = {template: load_attack(template, suite, VICTIM) for template in TEMPLATES}
    for task in suite.user_tasks.values():
        after = carrier(suite, task, attacks["direct"])
        if after is None:
            continue
        for template, attack in attacks.items():
            for injection in suite.injection_tasks.values():
                if injection.ID in silent:
                    continue
                environment = suite.load_and_inject_default_environment(attack.attack(task, injection))
                yield {
                    "user": task.ID,
                    "prompt": task.PROMPT,
                    "template": template,
                    "injection": injection.ID,
                    "goal": injection.GOAL,
                    "calls": played(suite, task, environment, injection, after),
                }


def main(name):
    suite = get_suites(VERSION)[name]
    tools = {tool.name: tool.parameters.model_json_schema() for tool in suite.tools}
    silent = without_calls(suite)
    print(json.dumps({"suite": name, "version": VERSION, "tools": tools, "without_calls": silent}))
    for trace in traces(suite):
        print(json.dumps(trace))


if __name__ == "__main__":
    main(sys.argv[1])
