package devstack

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// certificates are a certificate authority and one server certificate that it signed for 127.0.0.1
// and localhost.
type certificates struct {
	caFile       string // PEM
	keyStoreFile string // PEM: PKCS #8 key, then certificate, as Apache Kafka reads it
	kind         Certificate

	mu     sync.Mutex // guards roots and server, which replace changes
	roots  *x509.CertPool
	server tls.Certificate
}

// replace uses other certificates from now on. They must be in the same files.
func (c *certificates) replace(renewed *certificates) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.roots, c.server = renewed.roots, renewed.server
}

// getCertificate is the GetCertificate function of the server's tls.Config.
func (c *certificates) getCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	server := c.server
	return &server, nil
}

// Certificate is a kind of broker certificate: a valid one, or one with a certain fault.
type Certificate string

// The kinds of certificates that a broker may have.
const (
	CertificateValid     Certificate = ""
	CertificateExpired   Certificate = "expired"    // it expired an hour ago
	CertificateOtherHost Certificate = "other host" // it is valid for OtherHost only
)

// OtherHost is the host name in a certificate of the kind CertificateOtherHost.
const OtherHost = "broker.example"

// clientConfig returns the configuration of a client that connects in spite of the certificate's
// fault.
func (c *certificates) clientConfig() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	config := &tls.Config{RootCAs: c.roots, MinVersion: tls.VersionTLS12}
	switch c.kind {
	case CertificateExpired:
		config.Time = func() time.Time { return time.Now().Add(-2 * time.Hour) }
	case CertificateOtherHost:
		config.ServerName = OtherHost
	}
	return config
}

// certificateLifetime is longer than any run of the demo or of a test.
const certificateLifetime = 30 * 24 * time.Hour

func newCertificates(dir string, kind Certificate) (*certificates, error) {
	now := time.Now()
	authority := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "devstack authority"},
		NotBefore:             now.Add(-3 * time.Hour),
		NotAfter:              now.Add(certificateLifetime),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	authorityKey, err := newKey()
	if err != nil {
		return nil, err
	}
	authorityDER, err := x509.CreateCertificate(rand.Reader, authority, authority, authorityKey.Public(), authorityKey)
	if err != nil {
		return nil, fmt.Errorf("make the certificate authority: %w", err)
	}
	server := serverTemplate(authority, kind)
	serverKey, err := newKey()
	if err != nil {
		return nil, err
	}
	serverDER, err := x509.CreateCertificate(rand.Reader, server, authority, serverKey.Public(), authorityKey)
	if err != nil {
		return nil, fmt.Errorf("make the server certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		return nil, fmt.Errorf("encode the server key: %w", err)
	}
	c, err := writeCertificates(dir, authorityDER, serverDER, keyDER)
	if err != nil {
		return nil, err
	}
	c.kind = kind
	return c, nil
}

func serverTemplate(authority *x509.Certificate, kind Certificate) *x509.Certificate {
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2),
		Subject:      pkix.Name{CommonName: "localhost"},
		NotBefore:    authority.NotBefore,
		NotAfter:     authority.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.ParseIP(loopback)},
	}
	switch kind {
	case CertificateExpired:
		server.NotAfter = time.Now().Add(-time.Hour)
	case CertificateOtherHost:
		server.DNSNames, server.IPAddresses = []string{OtherHost}, nil
	}
	return server
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func writeCertificates(dir string, authorityDER, serverDER, keyDER []byte) (*certificates, error) {
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authorityDER})
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: serverDER})
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	c := &certificates{
		caFile:       filepath.Join(dir, "ca.pem"),
		keyStoreFile: filepath.Join(dir, "server.pem"),
		roots:        x509.NewCertPool(),
	}
	c.roots.AppendCertsFromPEM(authority)
	var err error
	if c.server, err = tls.X509KeyPair(certificate, key); err != nil {
		return nil, err
	}
	if err := os.WriteFile(c.caFile, authority, 0o600); err != nil {
		return nil, err
	}
	return c, os.WriteFile(c.keyStoreFile, bytes.Join([][]byte{key, certificate}, nil), 0o600)
}
