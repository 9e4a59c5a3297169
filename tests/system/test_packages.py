"""Packages, units, udev rules, manual pages, completion and sample configurations as a machine gets them."""
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, SECRET, SOURCE, Place  # noqa: E402

GATEWAY = os.path.join(BIN, 'schoolward-gateway')
EXPOSURE_MAX = 2.0


def run(*args, env=None, timeout=300):
    p = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(os.environ, **(env or {})), timeout=timeout, cwd=SOURCE)
    return p.returncode, p.stdout.decode('utf-8', 'replace')


def test_packages(place):
    if not shutil.which('dpkg-deb'):
        return
    arch = run('dpkg', '--print-architecture')[1].strip()
    code, out = run('scripts/package', arch, '--no-web', env={'DEBEMAIL': 'build@schoolward.org', 'DEBFULLNAME': 'Schoolward build'})
    assert code == 0, out
    root = place.path('root')
    debs = [line.split()[0] for line in out.splitlines()]
    assert sorted(os.path.basename(d).split('_')[0] for d in debs) == ['schoolward-common', 'schoolward-gateway', 'schoolward-server'], out
    for deb in debs:
        assert run('dpkg-deb', '-x', deb, root)[0] == 0
        fields = run('dpkg-deb', '-f', deb)[1]
        if 'common' not in deb:
            assert 'libwebsockets-evlib-uv' in fields and re.search(r'libc6 \(>= ', fields) and 'schoolward-common (= ' in fields, fields
            assert 'root/root' in run('dpkg-deb', '-c', deb)[1]
    server = [d for d in debs if 'server' in d][0]
    assert run('dpkg-deb', '--ctrl-tarfile', server)[0] == 0
    assert run('dpkg-deb', '-I', server, 'conffiles')[1] == '/etc/schoolward/server.conf\n'
    for path in ('usr/sbin/schoolward-gateway', 'usr/sbin/schoolward-server', 'usr/lib/systemd/system/schoolward-gateway.service', 'usr/lib/udev/rules.d/70-schoolward.rules',
                 'usr/lib/sysusers.d/schoolward.conf', 'usr/share/schoolward/law/cn-national.json', 'usr/share/schoolward/devices/generic-counter.conf',
                 'usr/share/man/man8/schoolward-gateway.8.gz', 'usr/share/man/man5/gateway.conf.5.gz', 'usr/share/man/zh_CN/man8/schoolward-gateway.8.gz',
                 'usr/share/bash-completion/completions/schoolward-gateway', 'etc/schoolward/server.conf', 'usr/share/doc/schoolward-gateway/copyright'):
        assert os.path.exists(os.path.join(root, path)), path
    assert run(os.path.join(root, 'usr/sbin/schoolward-gateway'), '--version')[1].startswith('schoolward-gateway ')
    assert run(os.path.join(root, 'usr/sbin/schoolward-server'), '--version')[1].startswith('schoolward-server ')
    place.write('secret', SECRET + '\n', 0o600)
    sample = os.path.join(root, 'usr/share/doc/schoolward-gateway/examples/buses/kindergarten.conf')
    code, out = run(os.path.join(root, 'usr/sbin/schoolward-gateway'), '--config', sample, '--set', 'gateway.secret_file=' + place.path('secret'),
                    '--set', 'gateway.law_file=' + os.path.join(root, 'usr/share/schoolward/law/cn-national.json'), '--check-config',
                    env={'SCHOOLWARD_DEVICES': os.path.join(root, 'usr/share/schoolward/devices')})
    assert code == 0, out
    if shutil.which('lintian'):
        code, out = run('lintian', '--allow-root', '--fail-on', 'error', *debs)
        assert code == 0, out


def test_sample_configurations(place):
    place.write('secret', SECRET + '\n', 0o600)
    names = sorted(os.listdir(os.path.join(SOURCE, 'firmware-config/buses')))
    assert len(names) >= 3
    place.write('cards.key', '5a' * 32, 0o600)
    for name in names + ['../gateway.conf']:
        key = ['--set', 'device.cards.key_file=' + place.path('cards.key')] if 'cards' in name else []
        code, out = run(GATEWAY, *key, '--config', os.path.join(SOURCE, 'firmware-config/buses', name), '--set', 'gateway.secret_file=' + place.path('secret'), '--check-config',
                        '--set', 'gateway.law_file=' + os.path.join(SOURCE, 'core/law/cn-national.json'), env={'SCHOOLWARD_DEVICES': os.path.join(SOURCE, 'firmware-config/devices')})
        assert code == 0, (name, out)


def test_units(place):
    if not shutil.which('systemd-analyze'):
        return
    for name in ('schoolward-gateway', 'schoolward-server'):
        unit = os.path.join(SOURCE, 'firmware-config/systemd', name + '.service')
        out = run('systemd-analyze', 'security', '--offline=true', unit)[1]
        exposure = float(re.search(r'Overall exposure level for \S+: ([\d.]+)', out).group(1))
        print('%s exposure=%.1f' % (name, exposure))
        assert exposure <= EXPOSURE_MAX, out
        # verify wants the programs to be there: the ones that were built stand for them
        with open(unit, encoding='utf-8') as f:
            text = f.read().replace('/usr/sbin/', BIN + '/')
        code, out = run('systemd-analyze', 'verify', '--man=no', place.write(name + '.service', text))
        wrong = [line for line in out.splitlines() if name in line and 'Failed to' not in line and 'not found' not in line]
        assert not wrong, out


def test_udev_rules(place):
    """What udev would say: every line a list of KEY op "value", every GOTO with its label, symbolic links only below /dev/schoolward."""
    known = r'(ACTION|SUBSYSTEM|SUBSYSTEMS|KERNEL|GOTO|LABEL|SYMLINK|ENV\{[\w.]+\}|ATTRS?\{\w+\})'
    labels, gotos, ignored = set(), set(), 0
    with open(os.path.join(SOURCE, 'firmware-config/udev/70-schoolward.rules'), encoding='utf-8') as f:
        for line in f:
            line = line.strip()
            if not line or line.startswith('#'):
                continue
            rest = re.sub(known + r'(==|!=|\+=|=)"([^"]*)"(, *|$)', '', line)
            assert rest == '', line
            labels.update(re.findall(r'LABEL="(\w+)"', line))
            gotos.update(re.findall(r'GOTO="(\w+)"', line))
            ignored += 'ID_MM_DEVICE_IGNORE' in line
            for link in re.findall(r'SYMLINK\+="([^"]*)"', line):
                assert link.startswith('schoolward/'), link
    assert gotos <= labels and ignored >= 2


def test_manual_pages(place):
    lint = shutil.which('mandoc')
    made = os.path.join(os.path.dirname(BIN), 'man')
    pages = [os.path.join(SOURCE, 'docs/man', lang, p) for lang in ('', 'zh_CN') for p in ('schoolward-gateway.8', 'schoolward-server.8')]
    pages += [os.path.join(made, lang, 'gateway.conf.5') for lang in ('', 'zh_CN')]
    for page in pages:
        with open(page, encoding='utf-8') as f:
            text = f.read()
        if page.endswith('gateway.conf.5'):
            for word in ('group_ms', 'silence_ms', 'driver = camera', 'driver = gpsd', 'max_mb'):
                assert word.replace('-', '\\-') in text, (page, word)
        if lint:
            code, out = run(lint, '-Kutf-8', '-Tlint', '-Wwarning', page)
            assert code == 0, out


COMPLETE = r'''
source "$1"
COMP_WORDS=("${@:2}"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
"_${COMP_WORDS[0]//-/_}"
printf '%s\n' "${COMPREPLY[@]}"
'''


def test_completion(place):
    config = place.write('g.conf', '[gateway]\nid = a\n[device door-front]\ndriver = counter\n[device  cam]\n')

    def complete(*words):
        path = os.path.join(SOURCE, 'scripts/completion', words[0])
        return set(run('bash', '-c', COMPLETE, 'bash', path, *words)[1].split())
    assert complete('schoolward-gateway', '') == {'status', 'doctor', 'record', 'enrol'}
    assert complete('schoolward-gateway', 'st') == {'status'}
    assert complete('schoolward-gateway', 'record', '--config', config, '') == {'door-front', 'cam'}
    assert complete('schoolward-gateway', 'record', '--config', config, 'd') == {'door-front'}
    assert complete('schoolward-gateway', 'doctor', '--wa') == {'--wait'}
    assert complete('schoolward-gateway', 'status', '--lang', '') == {'zh', 'en'}
    assert '--check-config' in complete('schoolward-gateway', '--')
    assert complete('schoolward-server', '--print-c') == {'--print-config'}
    help_text = run(GATEWAY, '--help')[1]
    for option in complete('schoolward-gateway', '--') | complete('schoolward-gateway', 'record', '--') | complete('schoolward-gateway', 'doctor', '--'):
        assert option in help_text, option


if __name__ == '__main__':
    import test_gateway_uplink
    test_gateway_uplink.run_all(globals())
