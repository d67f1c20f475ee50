"""Can the MCP client of the OpenAI Agents SDK list and call?"""

import asyncio

from _task import Memory, Task, report, task
from agents.mcp import MCPServerStreamableHttp
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider


async def main(todo: Task) -> None:
    auth = ClientCredentialsOAuthProvider(
        server_url=todo.url,
        storage=Memory(),
        client_id=todo.client_id,
        client_secret=todo.client_secret,
        issuer=todo.issuer,
    )
    async with MCPServerStreamableHttp(params={"url": todo.url, "auth": auth}, name="broker") as server:
        tools = await server.list_tools()
        result = await server.call_tool(todo.tool, todo.arguments)
    report([tool.name for tool in tools], result.content[0].text)


asyncio.run(main(task()))
