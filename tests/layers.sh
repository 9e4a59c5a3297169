#!/usr/bin/env bash
# Ranks the files and fails on an include that points up, or on a pure file of core that reaches the system. docs/architecture.md draws the ranks.
set -u
cd "${1:-$(dirname "$0")/..}" || exit 1
exec python3 - <<'PY'
import os, re, sys

# rank: a file may include what has a lower rank, its own header, and equals inside one group marked '='
RANKS = [
    (r'core/(rc|field)\.[ch]$', 0),
    (r'core/(event|geo|jdoc)\.[ch]$', 1),
    (r'core/(duty|camera_word)\.[ch]$', 2),
    (r'core/(bus|law)\.[ch]$', 3),
    (r'core/(wire|wire_batch|wire_talk|report|bundle)\.[ch]$', 3),
    (r'core/headcount\.[ch]$', 4),
    (r'core/(rules)\.[ch]$', 5),
    (r'core/rules/.*\.[ch]$', 5),
    (r'core/base/(clock)\.[ch]$', 6),
    (r'core/base/.*\.[ch]$', 7),
    # gateway
    (r'gateway/driver\.h$', 10),
    (r'gateway/tap\.[ch]$', 10),
    (r'gateway/(port|modbus_bus)\.[ch]$', 11),
    (r'gateway/drivers/.*\.[ch]$', 12),
    (r'gateway/device\.[ch]$', 13),
    (r'gateway/(outbox|panel|duty_file|inputs_merge|fixgate|timing|media)[a-z_]*\.[ch]$', 13),
    (r'gateway/uplink[a-z_]*\.[ch]$', 14),
    (r'gateway/cab[a-z_]*\.[ch]$', 14),
    (r'gateway/gateway\.[ch]$', 15),
    (r'gateway/files\.[ch]$', 10),
    (r'gateway/(config|orders|selfreport)\.[ch]$', 16),
    (r'gateway/.*\.[ch]$', 17),
    # server: memory, mind, doors
    (r'server/(json|lineproto)\.[ch]$', 20),
    (r'server/(journal|ledger|access|footage)[a-z_]*\.[ch]$', 21),
    (r'server/(devices)[a-z_]*\.[ch]$', 22),
    (r'server/(series|notify)[a-z_]*\.[ch]$', 22),
    (r'server/(fleet)[a-z_]*\.[ch]$', 22),
    (r'server/arrive[a-z_]*\.[ch]$', 23),
    (r'server/view\.[ch]$', 24),
    (r'server/(ingest|live|http|tiles|static)[a-z_]*\.[ch]$', 25),
    (r'server/(api|openapi)[a-z_]*\.[ch]$', 26),
    (r'server/api/.*\.[ch]$', 26),
    (r'server/config\.[ch]$', 27),
    (r'server/.*\.[ch]$', 28),
]
SYSTEM = re.compile(r'<(sys/socket|sys/epoll|netinet/.*|pthread|uv|libwebsockets|time|sys/time|unistd|fcntl|stdio|syslog|sqlite3|curl/.*)\.h>')
PURE_MAY_PRINT_INTO_BUFFERS = re.compile(r'<stdio\.h>')  # snprintf only: checked below

def rank(path):
    for pattern, r in RANKS:
        if re.match(pattern, path):
            return r
    return None

bad = []
files = [os.path.relpath(os.path.join(d, f)) for top in ('core', 'gateway', 'server') for d, _, fs in os.walk(top) for f in fs if f.endswith(('.c', '.h'))]
for path in sorted(files):
    mine = rank(path)
    if mine is None:
        bad.append(f'{path}: no rank: give it one in tests/layers.sh')
        continue
    text = open(path, encoding='utf-8').read()
    text = re.sub(r'/\*.*?\*/', lambda m: re.sub(r'[^\n]', ' ', m.group(0)), text, flags=re.S)  # comments may say what they like
    for number, line in enumerate(text.split('\n'), 1):
        m = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
        if m:
            for base in (os.path.dirname(path), '.'):
                target = os.path.normpath(os.path.join(base, m.group(1)))
                if os.path.exists(target):
                    break
            else:
                continue  # generated
            theirs = rank(target)
            own = os.path.splitext(target)[0] == os.path.splitext(path)[0]
            if theirs is not None and theirs > mine and not own:
                bad.append(f'{path}:{number}: includes {target}, which is above it')
            tops = (path.split('/')[0], target.split('/')[0])
            if tops in (('gateway', 'server'), ('server', 'gateway')):
                bad.append(f'{path}:{number}: {tops[0]} includes {tops[1]}: shared code belongs into core')
        pure = path.startswith('core/') and not path.startswith('core/base/')
        if pure:
            m = re.match(r'\s*#\s*include\s+(<[^>]+>)', line)
            if m and SYSTEM.match(m.group(1)) and not PURE_MAY_PRINT_INTO_BUFFERS.match(m.group(1)):
                bad.append(f'{path}:{number}: the pure part of core includes {m.group(1)}')
            if re.search(r'\b(printf|fprintf|puts|fopen|time|clock_gettime|gettimeofday|log_line|log_\w+)\s*\(', line) and not re.search(r'\blog(10|2|1p)?\(', line):
                bad.append(f'{path}:{number}: the pure part of core reaches the system: {line.strip()[:80]}')
        if path not in ('core/base/clock.c',) and re.search(r'\b(gettimeofday|clock_gettime)\s*\(|[^a-z_]time\s*\(\s*NULL', line):
            bad.append(f'{path}:{number}: only core/base/clock reads a clock')
for b in bad:
    print(b)
print(f'{len(files)} files, {len(bad)} violations')
sys.exit(1 if bad else 0)
PY
