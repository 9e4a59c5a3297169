"""What answers in place of the server: login pages, wrong and dead certificates, servers that are not ready. Each is told in a plain line, shown by a
word, and over by itself when its cause is. No root needed."""
import glob
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import BIN, SECRET, SOURCE, Gateway, Program, free_port, gateway_conf, need, skip, wait_for  # noqa: E402
from test_gateway_uplink import check_whole, end, recording, run_all  # noqa: E402
from wireserver import WireServer  # noqa: E402


def certificate(place, name, host='localhost', days=2, made=None, signer=None, subject=None):
    """(certificate, key); made: the day it was made, by faketime."""
    cert, key = place.path(name + '.pem'), place.path(name + '.key')
    args = ['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', str(days), '-subj', '/CN=' + (subject or host),
            '-addext', 'subjectAltName=DNS:' + host, '-keyout', key, '-out', cert]
    if signer:
        args += ['-CA', signer[0], '-CAkey', signer[1]]
    if made:
        args = [need('faketime'), made] + args
    subprocess.run(args, check=True, stderr=subprocess.DEVNULL)
    os.chmod(key, 0o600)
    return cert, key


def conf(place, name, port, tls=False, replay=None, times='now', host='localhost', ca=None, own=None, extra=''):
    device = ''
    if replay:
        device = '[device replay]\ndriver = replay\nfile = %s\nspeed = 1\ntimes = %s\n' % (replay, times)
    path = gateway_conf(place, name, '%s://%s:%d' % ('https' if tls else 'http', host, port), '[outbox]\ngroup_ms = 100\n' + device,
                        extra='refused_ms = 800\n' + extra)
    with open(path) as f:
        text = f.read()
    if ca:
        text = text.replace('log_level', 'ca_file = %s\nlog_level' % ca)
    if own:
        text = text.replace('log_level', 'cert_file = %s\nkey_file = %s\nlog_level' % own)
    return place.write(name + '.conf', text)


def begin(place, name, *args, **kw):
    return Gateway(place, conf(place, name, *args, **kw), name).start()


def word(g):
    """The state as SIGUSR1 tells it."""
    if 'main: schoolward-gateway' not in g.program.text():
        return ''
    before = len(g.program.text())
    g.program.child.send_signal(signal.SIGUSR1)
    return wait_for('the state', 5, lambda: re.search(r'uplink=(\w*)', g.program.text()[before:]), 0.01).group(1)


def told(g, *lines, seconds=10):
    for line in lines:
        g.program.wait_line(re.escape(line), seconds)


def shows(g, state, seconds=10):
    wait_for('the word ' + state, seconds, lambda: word(g) == state, 0.02)


def welcomed(g, server, n=0):
    wait_for('the welcome', 15, lambda: len(server.hellos) > n)
    shows(g, 'welcomed')


def test_login_page(place):
    """A portal answers 200 with a page, or a redirect to one. The redirect is not followed: the secret would go with it."""
    port, page_port = free_port(), free_port()
    server = WireServer(port, SECRET)
    server.http_answer = (b'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/login\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n' % page_port)
    server.start()
    asked = []
    page = socket.create_server(('127.0.0.1', page_port))

    def listen():
        while True:
            try:
                asked.append(page.accept()[0].recv(4096))
            except OSError:
                return
    threading.Thread(target=listen, daemon=True).start()
    g = begin(place, 'portal-1', port, host='127.0.0.1')
    told(g, "a login page answers in place of 127.0.0.1 (HTTP status 302)", 'log this network in')
    shows(g, 'portal')
    server.http_answer = b'HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 26\r\n\r\n<html>Please pay</html>\r\n\r\n'
    time.sleep(1.7)  # two tries at least
    shows(g, 'portal')
    # the same cause is said once, then at growing intervals: ten seconds have not gone by
    assert g.program.text().count('a login page answers') == 1, g.program.text()
    server.http_answer = b''
    welcomed(g, server)
    assert not asked, 'the login page was asked: %r' % asked[0]
    end(g)
    page.close()
    server.stop()


def test_page_of_a_portal_over_tls(place):
    """Over TLS a portal is a certificate of somebody else."""
    port = free_port()
    good, stranger = certificate(place, 'good'), certificate(place, 'portal', host='login.telecom.example')
    server = WireServer(port, SECRET, cert=good)
    mine, server.tls = server.tls, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(*stranger)
    server.start()
    g = begin(place, 'portal-2', port, tls=True, ca=good[0])
    told(g, 'the certificate (login.telecom.example) is not signed by who %s names' % good[0][:60], 'a login page of this network')
    shows(g, 'certificate')
    server.tls = mine
    welcomed(g, server)
    end(g)
    server.stop()


def test_other_host(place):
    port = free_port()
    ca = certificate(place, 'ca', host='ca.example')
    other, right = certificate(place, 'other', host='other.example', signer=ca), certificate(place, 'right', signer=ca)
    server = WireServer(port, SECRET, cert=other).start()
    g = begin(place, 'host', port, tls=True, ca=ca[0])
    told(g, 'the certificate (other.example) is not for localhost', 'write the certificate')
    shows(g, 'certificate')
    assert not server.hellos
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(*right)
    welcomed(g, server)
    end(g)
    server.stop()


def test_expired_long_ago(place):
    """Ended before the program was written: refused whatever the bus believes the date to be."""
    port = free_port()
    ca = certificate(place, 'ca', host='ca.example', days=4000, made='2025-01-01')
    old, new = certificate(place, 'old', days=30, made='2025-06-01', signer=ca), certificate(place, 'new', signer=ca)
    server = WireServer(port, SECRET, cert=old).start()
    for day in (None, '1970-01-02 08:00:00'):
        name = 'expired-%s' % ('now' if day is None else '1970')
        g = Gateway(place, conf(place, name, port, tls=True, ca=ca[0]), name)
        g.start() if day is None else under_faketime(g, day)
        told(g, 'has expired by the bus', 'renew the certificate on the server')
        if day is None:
            shows(g, 'certificate')
            server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.tls.load_cert_chain(*new)
            welcomed(g, server)
            server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.tls.load_cert_chain(*old)
        end(g)
    server.stop()


def under_faketime(g, day):
    """The program itself under the preload library: faketime(1) forks, and its child would get no signal of ours."""
    library = sorted(glob.glob('/usr/lib/*/faketime/libfaketime.so.1'))
    if not library:
        skip('libfaketime is not installed')
    g.program = Program([os.path.join(BIN, 'schoolward-gateway'), '--config', g.conf], g.place.path(g.name + '.log'),
                        env={'SCHOOLWARD_DEVICES': os.path.join(SOURCE, 'firmware-config/devices'), 'LD_PRELOAD': library[0], 'FAKETIME': '@' + day,
                             'FAKETIME_DONT_FAKE_MONOTONIC': '1'})
    return g


def test_clock_of_1970_is_not_locked_out(place):
    port = free_port()
    good = certificate(place, 'good')
    server = WireServer(port, SECRET, cert=good).start()
    for day in ('1970-01-02 08:00:00', '2045-01-01 00:00:00'):
        n = len(server.hellos)
        g = under_faketime(Gateway(place, conf(place, 'bus-%s' % day[:4], port, tls=True, ca=good[0]), 'bus-%s' % day[:4]), day)
        wait_for('the welcome with a clock of ' + day, 15, lambda: len(server.hellos) > n)
        told(g, 'clock set by')
        end(g)
    server.stop()


def test_date_becomes_known(place):
    """A certificate that ended last month is let in while nobody knows the date, and not any more when the receiver has told it; that is kept over a restart."""
    port = free_port()
    now = int(time.time())
    made = time.strftime('%Y-%m-%d', time.gmtime(now - 60 * 86400))
    old = certificate(place, 'old', days=30, made=made)
    server = WireServer(port, SECRET, cert=old).start()
    lines = ['# schoolward-replay 1', '%d camera dsm begin 1 1 3 36 0' % (now * 1000 - 2000)] + ['%d fix %.7f 109.4 10.0 0.0 0.9 9 3' % (now * 1000 + i * 1000, 24.0 + i * 9e-5) for i in range(60)]
    ride = place.write('ride', '\n'.join(lines) + '\n')
    g = begin(place, 'date', port, tls=True, ca=old[0], replay=ride, times='recorded')
    told(g, 'has expired by the bus', seconds=25)
    shows(g, 'certificate')
    end(g)
    print('let_in_before=%d' % len(server.hellos))  # 0 where NTP has set the clock of this machine
    n = len(server.hellos)
    if n:
        with open(place.path('date-state', 'uplink.last')) as f:
            assert re.fullmatch(r'schoolward-uplink 1 localhost \S+ \d+\n', f.read())
    before = len(g.program.text())
    g = begin(place, 'date', port, tls=True, ca=old[0])
    g.program.wait_line('has expired by the bus', since=before)
    assert len(server.hellos) == n, 'let in again'
    end(g)
    server.stop()


def test_runs_out_soon(place):
    port = free_port()
    good = certificate(place, 'good', days=5)
    server = WireServer(port, SECRET, cert=good)
    own = certificate(place, 'own', host='bus', days=10)
    server.tls.load_verify_locations(own[0])
    server.tls.verify_mode = ssl.CERT_REQUIRED
    server.start()
    now = int(time.time())
    ride = place.write('ride', '# schoolward-replay 1\n' + ''.join('%d fix %.7f 109.4 10.0 0.0 0.9 9 3\n' % (now * 1000 + i * 1000, 24.0 + i * 9e-5) for i in range(60)))
    g = begin(place, 'soon', port, tls=True, ca=good[0], own=own, replay=ride, times='recorded')
    welcomed(g, server)
    told(g, "the server's certificate (localhost) expires in 4 days", "this gateway's certificate expires in 9 days", seconds=15)
    assert re.search(r'cert_days=4 own_cert_days=9', g.program.text())
    end(g)
    server.stop()


def test_client_certificate(place):
    port = free_port()
    good, own, stranger = certificate(place, 'good'), certificate(place, 'own', host='bus'), certificate(place, 'stranger', host='stranger')
    server = WireServer(port, SECRET, cert=good)
    server.tls.load_verify_locations(own[0])
    server.tls.verify_mode = ssl.CERT_REQUIRED
    server.start()
    g = begin(place, 'none', port, tls=True, ca=good[0])
    told(g, 'the server wants a client certificate', 'cert_file and key_file')
    shows(g, 'own_certificate')
    end(g)
    g = begin(place, 'mine', port, tls=True, ca=good[0], own=stranger)
    told(g, 'the server does not take our certificate')
    shows(g, 'own_certificate')
    assert not server.hellos
    for a, b in zip(own, stranger):  # enrolled again, while the program runs
        os.replace(a, b)
    welcomed(g, server)
    end(g)
    server.stop()
    g = begin(place, 'half', port, tls=True, ca=good[0], own=(good[0], stranger[1]))
    assert g.program.child.wait(timeout=10) == 78 and 'is not the key of' in g.program.text(), g.program.text()


def test_later(place):
    port = free_port()
    server = WireServer(port, SECRET)
    server.http_answer = b'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\n\r\n'
    tries = []
    answer = server.serve

    def serve(sock):
        tries.append(time.monotonic())
        answer(sock)
    server.serve = serve
    server.start()
    g = begin(place, 'later', port, host='127.0.0.1')
    told(g, "the server says 'later' (HTTP status 503)")
    shows(g, 'busy')
    wait_for('three tries', 15, lambda: len(tries) >= 3)
    gaps = [b - a for a, b in zip(tries, tries[1:])]
    assert all(2.0 <= gap < 3.6 for gap in gaps), gaps
    server.http_answer = b''
    welcomed(g, server)
    # an orderly restart is no trouble of the bus
    n = len(server.hellos)
    server.current().close(1012, 'restart')
    told(g, 'the server restarts: nothing to do')
    wait_for('it is back', 10, lambda: len(server.hellos) > n)
    end(g)
    server.stop()
    print('gaps_s=%s' % ' '.join('%.2f' % x for x in gaps))


def test_mute_ports(place):
    """A port that takes connections and says nothing; one that speaks something else; one that is closed."""
    port = free_port()
    s = socket.create_server(('127.0.0.1', port))
    taken = []

    def talk():
        while True:
            try:
                c = s.accept()[0]
            except OSError:
                return
            taken.append(c)
            c.sendall(b'SSH-2.0-OpenSSH_9.2\r\n')
            c.close()
    threading.Thread(target=talk, daemon=True).start()
    g = begin(place, 'ssh', port, tls=True, host='127.0.0.1')
    told(g, 'TLS: the handshake failed')
    shows(g, 'tls')
    end(g)
    g = begin(place, 'ssh-plain', port, host='127.0.0.1')
    told(g, 'ended without an answer in HTTP')
    shows(g, 'http')
    end(g)
    s.shutdown(socket.SHUT_RDWR)
    s.close()
    g = begin(place, 'closed', port, host='127.0.0.1')
    told(g, 'cannot be reached (Connection refused)', 'is the server up')
    shows(g, 'down')
    end(g)


def test_all_is_kept_meanwhile(place):
    """Through one fault after another everything recorded arrives, once."""
    port = free_port()
    good, stranger = certificate(place, 'good'), certificate(place, 'portal', host='login.telecom.example')
    server = WireServer(port, SECRET, cert=good)
    contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2)]
    contexts[0].load_cert_chain(*stranger)
    contexts[1].load_cert_chain(*good)
    server.start()
    g = Gateway(place, conf(place, 'kept', port, tls=True, ca=good[0], replay=recording(place, 'ride', 10, per_second=20, urgent_every=10)), 'kept').start()
    for _ in range(3):
        welcomed(g, server, len(server.hellos) - 1)
        server.tls = contexts[0]
        server.current().drop()
        shows(g, 'certificate')
        server.tls = contexts[1]
        n = len(server.hellos)
        wait_for('back', 10, lambda: len(server.hellos) > n)
    wait_for('all', 20, lambda: len([1 for v in server.records.values() if v[0] == 1]) >= 200 and len([1 for l, _ in server.records if l == 1]) >= 20)
    check_whole(server)
    end(g)
    server.stop()


if __name__ == '__main__':
    run_all({k: v for k, v in globals().items()})
