/* What of the way to the server works: name, TCP, TLS, the upgrade with our secret. Blocking, with time-outs at every step. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "care.h"
#include "cli_doctor.h"

#define STEP_MS   5000
#define CLOSE_MS  1500 /* a server that does not know us says so at once */
#define SOON_DAYS 21

static int connect_to(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), e = 0;
    socklen_t n = sizeof e;
    if (fd < 0)
        return -1;
    if (connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
        struct pollfd f = {.fd = fd, .events = POLLOUT};
        if (errno != EINPROGRESS || poll(&f, 1, STEP_MS) <= 0)
            e = errno == EINPROGRESS ? ETIMEDOUT : errno;
        else
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
    }
    if (e != 0) {
        close(fd);
        errno = e;
        return -1;
    }
    struct timeval t = {STEP_MS / 1000, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t);
    fcntl(fd, F_SETFL, 0);
    return fd;
}

static int reach(struct doctor *d, const struct uplink_url *u)
{
    char port[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    snprintf(port, sizeof port, "%d", u->port);
    int e = getaddrinfo(u->host, port, &hints, &found), fd = -1;
    if (e != 0) {
        doctor_say(d, DOCTOR_FAIL, "server name", "%s cannot be resolved (%s): mobile link, /etc/resolv.conf, spelling in [gateway] server",
                   "%s 无法解析（%s）：检查移动网络、/etc/resolv.conf 与 [gateway] server 的拼写", u->host, gai_strerror(e));
        return -1;
    }
    doctor_say(d, DOCTOR_OK, "server name", "%s is known", "%s 可解析", u->host);
    for (const struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next)
        fd = connect_to(a);
    if (fd < 0)
        doctor_say(d, DOCTOR_FAIL, "server port", "%s port %d: %s: is the server up, and does the SIM card's network let us through?",
                   "%s 端口 %d：%s：服务器是否开启，SIM 卡网络是否放行？", u->host, u->port, strerror(errno));
    else
        doctor_say(d, DOCTOR_OK, "server port", "%s port %d answers", "%s 端口 %d 有应答", u->host, u->port);
    freeaddrinfo(found);
    return fd;
}

static void judge_certificate(struct doctor *d, SSL *ssl, const char *host)
{
    X509 *cert = SSL_get0_peer_certificate(ssl);
    long result = SSL_get_verify_result(ssl);
    int days = 0, seconds = 0;
    if (result != X509_V_OK) {
        doctor_say(d, DOCTOR_FAIL, "server certificate", "%s: %s: is the clock right? otherwise ca_file, or the server's certificate and its chain",
                   "%s：%s：时钟是否正确？否则检查 ca_file 或服务器证书链", host, X509_verify_cert_error_string(result));
        return;
    }
    if (cert == NULL || ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)) != 1)
        return;
    doctor_say(d, days < SOON_DAYS ? DOCTOR_WARN : DOCTOR_OK, "server certificate", "%s is trusted, %d days left", "%s 可信，剩余 %d 天", host, days);
}

static SSL *secure(struct doctor *d, const struct config *c, const struct uplink_url *u, SSL_CTX *ctx, int fd)
{
    char ca[320], host[sizeof u->host];
    care_ca(c->gateway.state_dir, c, ca, sizeof ca);
    if ((ca[0] != '\0' ? SSL_CTX_load_verify_locations(ctx, ca, NULL) : SSL_CTX_set_default_verify_paths(ctx)) != 1)
        doctor_say(d, DOCTOR_FAIL, "ca_file", "%s cannot be read as PEM", "%s 不是可读的 PEM 文件", ca[0] != '\0' ? ca : "/etc/ssl/certs");
    if (c->gateway.cert_file[0] != '\0' && (SSL_CTX_use_certificate_chain_file(ctx, c->gateway.cert_file) != 1 ||
                                            SSL_CTX_use_PrivateKey_file(ctx, c->gateway.key_file, SSL_FILETYPE_PEM) != 1))
        doctor_say(d, DOCTOR_FAIL, "cert_file", "%s and key_file cannot be used together", "%s 与 key_file 不能配合使用", c->gateway.cert_file);
    SSL *ssl = SSL_new(ctx);
    if (ssl == NULL)
        return NULL;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, u->host) != 1) {
        X509_VERIFY_PARAM_set1_host(param, u->host, 0);
        memcpy(host, u->host, sizeof host); /* the macro of OpenSSL casts const away */
        SSL_set_tlsext_host_name(ssl, host);
    }
    SSL_set_verify(ssl, SSL_VERIFY_NONE, NULL); /* judged, and told in words, below */
    SSL_set_fd(ssl, fd);
    if (SSL_connect(ssl) != 1) {
        doctor_say(d, DOCTOR_FAIL, "server TLS", "%s does not speak TLS on port %d: ws:// instead of wss://, or a login page of the network",
                   "%s 端口 %d 不是 TLS：应为 ws:// 或网络需要认证", u->host, u->port);
        SSL_free(ssl);
        return NULL;
    }
    judge_certificate(d, ssl, u->host);
    return ssl;
}

static ssize_t io_write(SSL *ssl, int fd, const void *buf, size_t n)
{
    return ssl != NULL ? SSL_write(ssl, buf, (int)n) : send(fd, buf, n, MSG_NOSIGNAL);
}

static ssize_t io_read(SSL *ssl, int fd, void *buf, size_t n)
{
    return ssl != NULL ? SSL_read(ssl, buf, (int)n) : recv(fd, buf, n, 0);
}

/* The close code of the frame at p, 0: none. RFC 6455 5.2: a server's frames are not masked. */
static unsigned close_code(const unsigned char *p, ssize_t n)
{
    return n >= 4 && p[0] == 0x88 && p[1] >= 2 && p[1] < 126 ? (unsigned)p[2] << 8 | p[3] : 0;
}

static void judge_close(struct doctor *d, const struct config *c, unsigned code)
{
    switch (code) {
    case 0: doctor_say(d, DOCTOR_OK, "server secret", "gateway '%s' is let in", "网关 %s 获准接入", c->gateway.id); return;
    case WIRE_CLOSE_UNAUTHORISED:
        doctor_say(d, DOCTOR_FAIL, "server secret", "4401: the server does not know gateway '%s' or its secret: compare the id, or enrol again",
                   "4401：服务器不认识网关 %s 或其密钥：核对编号，或重新注册", c->gateway.id);
        return;
    default:
        doctor_say(d, DOCTOR_WARN, "server secret", "the server hung up with %u: its log says why", "服务器以 %u 断开：原因见其日志", code);
        return;
    }
}

static void upgrade(struct doctor *d, const struct config *c, const struct uplink_url *u, SSL *ssl, int fd, const char *secret)
{
    char text[1400];
    unsigned char answer[4096];
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: c2Nob29sd2FyZC1kb2N0b3I=\r\nSec-WebSocket-Protocol: " WIRE_SUBPROTOCOL "\r\nAuthorization: Bearer %s\r\n"
                     "Schoolward-Gateway: %s\r\n\r\n",
                     u->path, u->host, u->port, secret, c->gateway.id);
    ssize_t got = 0, k = io_write(ssl, fd, text, (size_t)n);
    explicit_bzero(text, sizeof text);
    const char *end = NULL;
    while (k > 0 && end == NULL && got < (ssize_t)sizeof answer - 1 && (k = io_read(ssl, fd, answer + got, sizeof answer - 1 - (size_t)got)) > 0) {
        got += k;
        answer[got] = '\0';
        end = strstr((const char *)answer, "\r\n\r\n");
    }
    if (end == NULL || strncmp((const char *)answer, "HTTP/1.1 ", 9) != 0) {
        doctor_say(d, DOCTOR_FAIL, "server upgrade", "no answer of a Schoolward server at %s%s: look at the address, and at the proxy before it",
                   "%s%s 不是护学服务器：检查地址与前置代理", u->host, u->path);
        return;
    }
    if (strncmp((const char *)answer + 9, "101", 3) != 0) {
        doctor_say(d, DOCTOR_FAIL, "server upgrade", "%s answers %.3s instead of 101: the path must be /gateway, and a proxy must pass WebSockets",
                   "%s 返回 %.3s 而非 101：路径应为 /gateway，代理须放行 WebSocket", u->host, (const char *)answer + 9);
        return;
    }
    const unsigned char *frame = (const unsigned char *)end + 4;
    ssize_t have = got - (frame - answer);
    if (have == 0) {
        struct timeval t = {CLOSE_MS / 1000, CLOSE_MS % 1000 * 1000};
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
        frame = answer;
        have = io_read(ssl, fd, answer, sizeof answer);
    }
    judge_close(d, c, close_code(frame, have));
}

void doctor_server(struct doctor *d, const struct config *c)
{
    struct uplink_url u;
    char why[320], secret[UPLINK_SECRET_MAX + 1];
    if (c->gateway.server[0] == '\0') {
        doctor_say(d, DOCTOR_WARN, "server", "none is configured: nothing is sent%s", "未配置：不发送任何数据%s", "");
        return;
    }
    bool known = care_secret(c->gateway.state_dir, c, secret, why, sizeof why) == RC_OK;
    if (!known)
        doctor_say(d, DOCTOR_FAIL, "secret", "%.200s; or schoolward-gateway enrol", "%.200s；或 schoolward-gateway enrol", why);
    if (uplink_url_parse(c->gateway.server, &u, why, sizeof why) != RC_OK)
        return; /* told as a problem of the configuration */
    int fd = reach(d, &u);
    SSL_CTX *ctx = fd >= 0 && u.tls ? SSL_CTX_new(TLS_client_method()) : NULL;
    SSL *ssl = ctx != NULL ? secure(d, c, &u, ctx, fd) : NULL;
    bool trusted = ssl != NULL && SSL_get_verify_result(ssl) == X509_V_OK;
    if (known && fd >= 0 && (u.tls ? trusted : true)) /* the secret goes to nobody else */
        upgrade(d, c, &u, ssl, fd, secret);
    explicit_bzero(secret, sizeof secret);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    if (fd >= 0)
        close(fd);
}
