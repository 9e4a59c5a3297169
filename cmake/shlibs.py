#!/usr/bin/env python3
"""Depends of cross-built programs: what dpkg-shlibdeps does, from the shlibs files that cmake/sysroot.sh kept. usage: shlibs.py OBJDUMP SHLIBS PROGRAM..."""
import re
import subprocess
import sys

objdump, shlibs, programs = sys.argv[1], sys.argv[2], sys.argv[3:]
known = {}
with open(shlibs, encoding='utf-8') as f:
    for line in f:
        words = line.split(None, 2)
        if len(words) == 3 and not words[0].endswith(':'):
            known[(words[0], words[1])] = words[2].strip()
depends, missing = set(), []
for program in programs:
    for name in re.findall(r'NEEDED\s+(\S+)', subprocess.run([objdump, '-p', program], stdout=subprocess.PIPE, check=True).stdout.decode()):
        m = re.fullmatch(r'(.+)\.so\.(.+)', name) or re.fullmatch(r'(.+)-(\d[\d.]*)\.so', name)
        if name.startswith('ld-linux'):
            continue
        if m is None or m.groups() not in known:
            missing.append(name)
        else:
            depends.add(known[m.groups()])
if missing:
    sys.exit('shlibs: no package known for ' + ' '.join(missing))
print(', '.join(sorted(depends)))
