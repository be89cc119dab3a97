package preflight

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"

	"genesys-fanout/target"
)

// Targets returns one check for each target. It resolves the target's host, connects to the port
// and, for https, verifies the certificate. It sends no request. If the target is behind a
// proxy, it connects to the proxy only.
func Targets(set *target.Set) []Check {
	var checks []Check
	for _, t := range set.All() {
		checks = append(checks, Check{Name: "target " + t.Name(), Run: func(ctx context.Context) []Result {
			return []Result{reachTarget(ctx, t)}
		}})
	}
	return checks
}

func reachTarget(ctx context.Context, t *target.Target) Result {
	if t.State == target.Retired {
		return Skip("retired, so nothing is sent to it")
	}
	result := dialTarget(ctx, t)
	if t.State == target.Paused && result.Status == Failed {
		result.Status = Warning
		result.Detail += " (the target is paused, so its deliveries wait)"
	}
	return result
}

func dialTarget(ctx context.Context, t *target.Target) Result {
	address, err := url.Parse(t.URL)
	if err != nil { // never, because target.Load has parsed it
		return Fail("the target's URL is not valid", urlCure(t))
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: address})
	if err != nil {
		return Fail("the proxy's URL is not valid", proxyCure)
	}
	if proxy != nil {
		reached, err := Reach(ctx, hostPort(proxy), secured(proxy))
		if err != nil {
			return Fail("the target's proxy: "+err.Error(), proxyCure)
		}
		return Pass("%s, the target's proxy; the target behind it was not tried", reached)
	}
	reached, err := Reach(ctx, hostPort(address), secured(address))
	if failed, ok := errors.AsType[*ReachError](err); ok {
		return Fail(failed.Error(), targetCure(t, failed.Step))
	}
	return Pass("%s", reached)
}

// secured returns the TLS configuration for a URL, or nil for a URL without TLS. It is the
// default configuration of crypto/tls, with which deliveries verify certificates too.
func secured(u *url.URL) *tls.Config {
	if u.Scheme != "https" {
		return nil
	}
	return &tls.Config{MinVersion: tls.VersionTLS12}
}

// hostPort returns the address that a URL stands for.
func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	case u.Scheme == "socks5", u.Scheme == "socks5h":
		port = "1080"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

const proxyCure = "correct HTTPS_PROXY or HTTP_PROXY, or name the target's host in NO_PROXY"

func urlCure(t *target.Target) string { return "correct the url of " + t.Name() + " in FANOUT_TARGETS" }

func targetCure(t *target.Target, step Step) string {
	switch step {
	case Resolve:
		return urlCure(t) + ", and check this machine's DNS"
	case Connect:
		return urlCure(t) + ", and check that the service runs and that no firewall blocks its port"
	case Untrusted:
		return "add the CA of its certificate to the system's roots, or name its file in SSL_CERT_FILE"
	case Expired:
		return "renew its certificate, or correct this machine's clock"
	case OtherHost:
		return urlCure(t) + ": the certificate belongs to another host"
	}
	return urlCure(t) + ": the server at this address does not speak TLS as https needs it"
}
