"""Can LangChain's MCP adapters (built on mcp 1.x) list and call?"""

import asyncio

from _task import Memory, Task, report, task
from langchain_mcp_adapters.client import MultiServerMCPClient
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider


async def main(todo: Task) -> None:
    auth = ClientCredentialsOAuthProvider(
        server_url=todo.url,
        storage=Memory(),
        client_id=todo.client_id,
        client_secret=todo.client_secret,
    )
    client = MultiServerMCPClient({"broker": {"transport": "http", "url": todo.url, "auth": auth}})
    tools = await client.get_tools()
    chosen = next(tool for tool in tools if tool.name == todo.tool)
    content = await chosen.ainvoke(todo.arguments)
    report([tool.name for tool in tools], content if isinstance(content, str) else content[0]["text"])


asyncio.run(main(task()))
