// Can the TypeScript client list and call through the broker, with nothing but a client id and a secret or a key?
//
//   node typescript_client.mjs <modules> <url> <issuer> <mode> <tool> <arguments as JSON>
//
// Reads the credentials from BROKER_CLIENT_ID and BROKER_CLIENT_SECRET, or BROKER_CLIENT_KEY (a private JWK);
// prints {version, tools, result}.
import { createRequire } from 'node:module';

const [modules, url, issuer, mode, tool, args] = process.argv.slice(2);
const { Client, ClientCredentialsProvider, PrivateKeyJwtProvider, StreamableHTTPClientTransport } = createRequire(
  `${modules}/`,
)('@modelcontextprotocol/client');

const { BROKER_CLIENT_ID: clientId, BROKER_CLIENT_SECRET: clientSecret, BROKER_CLIENT_KEY: key } = process.env;
const authProvider = key
  ? new PrivateKeyJwtProvider({ clientId, privateKey: JSON.parse(key), algorithm: 'ES256', expectedIssuer: issuer })
  : new ClientCredentialsProvider({ clientId, clientSecret, expectedIssuer: issuer });
const client = new Client({ name: 'typescript-client', version: '1.0.0' }, { versionNegotiation: { mode } });
const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider });
await client.connect(transport);
const { tools } = await client.listTools();
const result = await client.callTool({ name: tool, arguments: JSON.parse(args) });
console.log(
  JSON.stringify({
    version: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion,
    tools: tools.map(({ name }) => name),
    result,
  }),
);
await client.close();
