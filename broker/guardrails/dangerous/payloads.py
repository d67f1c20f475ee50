"""What makes a value dangerous in its role? Paths that climb, numbers that are statements, hosts inside."""

import ipaddress
import re
from urllib.parse import unquote, urlsplit

_LONGEST = 4096
"""Characters read of one value; a path or id that is longer is odd enough by itself."""

_OVERLONG = re.compile(
    r"%(?:25)*(?:c0%ae|e0%80%ae|f0%80%80%ae|f8%80%80%80%ae|fc%80%80%80%80%ae|c0%2e|c0%fe|u002e|uff0e)|0x2e",
    re.IGNORECASE,
)
_OVERLONG_SLASH = re.compile(
    r"%(?:25)*(?:c0%af|c1%9c|c1%8s|c1%af|c1%pc|c0%9v|c0%qf|c1%1c|c0%2f|c0%5c|e0%80%af|f0%80%80%af|f8%80%80%80%af|fc%80%80%80%80%af|"
    r"u2215|u2216|uf025|uefc8|bg%qf)|0x2f|0x5c",
    re.IGNORECASE,
)
_CLIMBS = re.compile(r"(?:^|[\\/;:=])\s*\.{2,}[;\s]*(?:[\\/]|$)|\.\.[\\/]|[\\/]\.\.|\.\.\.\.//")
_NO_UTF8 = re.compile(r"%(?:25)*(?:c[01]|f[89a-f])(?=%|[^0-9a-z]|$)|%%(?:25)?[0-9a-f]{2}", re.IGNORECASE)
"""Bytes that no UTF-8 holds, and signs that are encoded in halves: only there to get past a filter."""
_NEIGHBOUR = re.compile(r"(?:\.\./){1,2}[\w-][\w .-]*(?:/[\w-][\w .-]*)*")
"""A folder or two up, then down to something plainly named: what people who write code write all day."""
_SENSITIVE = re.compile(
    r"^(?:file:/*)?/*(?:etc/(?:passwd|shadow|sudoers|hosts|group|ssh|ssl/private|kubernetes|issue|motd|mysql|httpd|apache2?|nginx)|"
    r"proc/(?:self|\d+|version|cmdline|mounts|sched_debug|net)|root(?:/|$)|sys/kernel|dev/(?:sd|mem|tcp|udp)|var/run/(?:docker|secrets)|"
    r"var/(?:log|mail|lib/mlocate)|run/secrets)"
    r"|(?:^|[\\/])\.(?:ssh|aws|gnupg|kube|docker|netrc|env|git-credentials|htpasswd|htaccess|bash_history)(?:[\\/]|$)"
    r"|(?:^|[\\/:])(?:boot\.ini|win\.ini|system32|windows[\\/]|winnt|web\.config|WEB-INF|autoexec\.bat)|^[\\/]{2}[\w.-]+[\\/]"
    r"|::\$(?:DATA|INDEX)",
    re.IGNORECASE,
)
_WRAPPER = re.compile(
    r"^\s*(?:php|zip|phar|expect|data|glob|ogg|rar|ssh2|zlib|compress\.\w+|input|jar|netdoc|gopher|file)\s*:",
    re.IGNORECASE,
)
_COMMANDS = (
    r"(?:cat|ls|dir|id|whoami|uname|curl|wget|nc|ncat|netcat|bash|sh|zsh|cmd|powershell|ping|sleep|rm|mv|cp|chmod|chown|echo|printf|"
    r"python\d?|perl|ruby|php|node|nslookup|dig|host|telnet|ssh|scp|ftp|systeminfo|ifconfig|ipconfig|net|netstat|ps|kill|touch|type|"
    r"find|grep|awk|sed|tee|xargs|base64|env|set|which|export|reg|tasklist|shutdown|reboot|useradd|passwd|mail|sendmail|crontab|w|who|pwd|df|phpinfo|timeout)"
)
_SHELL = re.compile(
    rf"(?:[;|&\n\r`]|\$\(|\|\||&&|%0[ad])\s*[\"'(]?(?:/?(?:usr/)?(?:s?bin)/)?{_COMMANDS}\b|\$\([^)]*\)|`[^`]+`|\$\{{?IFS|"
    r"\$\{[^}]*\}|\b(?:system|exec|eval|passthru|popen|shell_exec|proc_open|assert|include|require|phpinfo)\s*\(|"
    r"[<>]\(|>\s*/dev/|/dev/tcp/|(?:^|[\s;|&])/?(?:usr/)?bin/\w+|<!--#exec|\(\)\s*\{\s*:?;|\{[\w/.-]+(?:,[^}]*)+\}",
    re.IGNORECASE,
)
_SHELL_ALONE = re.compile(rf"^\s*(?:{_COMMANDS})\s+[-/\w.$\"']", re.IGNORECASE)
_SHELL_MARKS = re.compile(r"^\s*[;|&]|[;|&<>]\s*$|[|]{2}|&&|[;|]\s*\w")
_SQL = re.compile(
    r"\bunion\b[\s\S]{0,60}\bselect\b|\b(?:or|and|having|xor)\b[\s(]*(?:not\s+)?[\"'(]*[\w@]*[\"')]*\s*(?:=|<|>|like\b|is\b|between\b|in\s*\(|rlike\b)|"
    r"\b(?:sleep|benchmark|pg_sleep|waitfor|extractvalue|updatexml|load_file|xp_\w+|sp_\w+|randomblob|dbms_\w+|utl_\w+)\b\s*[('\s]|"
    r";\s*(?:drop|select|insert|update|delete|exec|execute|declare|shutdown|alter|create|waitfor|truncate|begin)\b|"
    r"\b(?:order|group)\s+by\s+[\w@(]|\bselect\b[\s\S]{0,80}\bfrom\b|\binformation_schema\b|\bsysobjects\b|\bsqlite_master\b|@@\w+|"
    r"[\"')]\s*(?:--|#|/\*|;|\|\||&&)|(?:--|#)\s*-?\s*$|/\*!|\binto\s+(?:out|dump)file\b|[\"')]\s*(?:or|and|union|having|xor)\b|"
    r"\b(?:drop|alter|create|truncate)\s+(?:table|database|user|procedure)\b|\binsert\s+into\b|\bdelete\s+from\b|\bas\s+injectx\b|"
    r"\bexec(?:ute)?\s+(?:immediate|master|sp_|xp_)|\bcase\s+when\b|\brlike\b|\bnull\s*,\s*null\b|\bconvert\s*\(|\bchar\s*\(|\bhex\s*\(|"
    r"^\s*[\"'`)]+\s*$|[\"']\s*(?:\+|\|\|)\s*[\"']|\bwhere\b.+=",
    re.IGNORECASE,
)


def _unwrapped(value: str) -> str:
    """As the last of several decoders may read it."""
    text = value[:_LONGEST]
    for _ in range(3):
        text = _OVERLONG_SLASH.sub("/", _OVERLONG.sub(".", text))
        decoded = unquote(text, errors="replace")
        if decoded == text:
            break
        text = decoded
    return text


def in_path(value: str) -> str | None:
    """What is wrong with a path."""
    if _NO_UTF8.search(value):
        return "path-traversal"
    text = _unwrapped(value)
    if "\0" in text:
        return "nul-byte"
    if _CLIMBS.search(text):
        return "parent-path" if _NEIGHBOUR.fullmatch(value) else "path-traversal"
    if _WRAPPER.search(text):
        return "stream-wrapper"
    return "sensitive-path" if _SENSITIVE.search(text) else None


def in_filename(value: str) -> str | None:
    """What is wrong with the name of a file."""
    return in_path(value) or _shell(value)


def in_id(value: str) -> str | None:
    """What is wrong with an identifier."""
    text = unquote(value[:_LONGEST], errors="replace")
    if _SQL.search(text):
        return "sql"
    return _shell(value)


def _shell(value: str) -> str | None:
    text = value[:_LONGEST]
    found = _SHELL.search(text) or _SHELL_ALONE.search(text) or _SHELL_MARKS.search(text)
    return "shell" if found else None


_METADATA = frozenset(
    ("169.254.169.254", "metadata.google.internal", "metadata", "100.100.100.200", "fd00:ec2::254")
)
_LOCAL_NAMES = re.compile(
    r"^(?:localhost|.*\.localhost|.*\.local|.*\.internal|localtest\.me|.*\.(?:nip|sslip|xip)\.io|lvh\.me)\.?$"
)
_BAD_SCHEMES = frozenset(
    (
        "file",
        "gopher",
        "dict",
        "ldap",
        "ldaps",
        "tftp",
        "jar",
        "netdoc",
        "javascript",
        "vbscript",
        "php",
        "data",
        "sftp",
    )
)


def in_url(value: str) -> str | None:
    """What is wrong with an address: schemes that are none of the web, hosts that are inside."""
    try:
        parts = urlsplit(value[:_LONGEST].strip())
        host = (parts.hostname or "").lower()
    except ValueError:
        return "malformed-url"
    if parts.scheme.lower() in _BAD_SCHEMES:
        return "url-scheme"
    if parts.username is not None and "." in (parts.username or ""):
        return "deceptive-url"
    address = _address(host)
    plain = str(address) if address else host
    if plain in _METADATA:
        return "metadata-service"
    if address is not None and not address.is_global:
        return "internal-address"
    return "internal-address" if _LOCAL_NAMES.match(host) else None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """A host that is a number, also as `inet_aton` takes it: `2130706433`, `0x7f.1`, `0177.0.0.1`."""
    if ":" in host:
        try:
            six = ipaddress.IPv6Address(host.partition("%")[0])
        except ValueError:
            return None
        return six.ipv4_mapped or six
    parts = host.rstrip(".").split(".")
    if not 1 <= len(parts) <= 4 or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    numbers = [int(p, 16 if p[:2] == "0x" else 8 if len(p) > 1 and p[0] == "0" else 10) for p in parts]
    *high, low = numbers
    if any(n > 255 for n in high) or low >= 256 ** (5 - len(parts)):
        return None
    return ipaddress.IPv4Address(sum(n << 8 * (3 - place) for place, n in enumerate(high)) + low)


_NUMBER = re.compile(r"0x[0-9a-f]{1,8}|0[0-7]{0,11}|[1-9]\d{0,9}")
