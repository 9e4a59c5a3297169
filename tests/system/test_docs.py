"""docs/life-of-a-fix.md tells the truth: each function it names stands in the sources, those of a numbered step in the file of that step."""
import glob
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import SOURCE, finish  # noqa: E402


def read(path):
    with open(os.path.join(SOURCE, path), encoding='utf-8') as f:
        return f.read()


def main():
    text = read('docs/life-of-a-fix.md')
    everything = ''.join(read(os.path.relpath(p, SOURCE)) for top in ('core', 'gateway', 'server') for p in glob.glob(os.path.join(SOURCE, top, '**', '*.[ch]'), recursive=True))
    everything += ''.join(read(os.path.relpath(p, SOURCE)) for p in glob.glob(os.path.join(SOURCE, 'web/src/*.ts')))
    bad, named, steps = [], 0, 0
    for step in re.split(r'\n(?=\d+\. )', text)[1:]:
        steps += 1
        step = step.split('\n\n')[0]
        files = re.findall(r'`((?:core|gateway|server|web)/[\w/.]+)`', step)
        for path in files:
            if not os.path.exists(os.path.join(SOURCE, path)):
                bad.append('no such file: ' + path)
        inside = ''.join(read(p) for p in files if os.path.exists(os.path.join(SOURCE, p)))
        for name in re.findall(r'`(?:class )?(\w+)`', step):
            if name in ('fixpick',):
                continue
            named += 1
            if not re.search(r'\b%s\b' % name, inside) and not re.search(r'\b%s\s*\(' % name, everything):
                bad.append('%s: `%s` is in none of %s' % (step[:20], name, files))
    for name in re.findall(r'`(\w+)`', text):
        if '_' in name and not re.search(r'\b%s\b' % name, everything):
            bad.append('nowhere in the sources: ' + name)
    for doc in ['README.md', 'README.zh-CN.md', 'HACKING.md'] + ['docs/' + f for f in os.listdir(os.path.join(SOURCE, 'docs')) if f.endswith('.md')]:
        for link in re.findall(r'\]\(([^)#:]+)(?:#[^)]*)?\)', read(doc)):
            if not os.path.exists(os.path.normpath(os.path.join(SOURCE, os.path.dirname(doc), link))):
                bad.append('%s links to %s, which is not there' % (doc, link))
    for b in bad:
        print(b)
    print('steps=%d names=%d wrong=%d' % (steps, named, len(bad)))
    finish(not bad and steps == 9 and named > 20)


if __name__ == '__main__':
    main()
