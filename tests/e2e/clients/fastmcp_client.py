"""Can FastMCP's client list and call?"""

import asyncio

from _task import Task, report, task
from fastmcp import Client
from fastmcp.client.auth import ClientCredentialsOAuthProvider


async def main(todo: Task) -> None:
    auth = ClientCredentialsOAuthProvider(
        client_id=todo.client_id, client_secret=todo.client_secret, issuer=todo.issuer
    )
    async with Client(todo.url, auth=auth) as client:
        tools = await client.list_tools()
        result = await client.call_tool(todo.tool, todo.arguments)
    report([tool.name for tool in tools], result.content[0].text)


asyncio.run(main(task()))
