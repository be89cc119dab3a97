package devstack

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// saslControl intercepts the SASL requests that kfake receives, for two reasons.
//
// It rejects a wrong user or password with SASL_AUTHENTICATION_FAILED, as Kafka does. kfake alone
// only closes the connection, which a client interprets as an outage. To check a password, saslControl
// records the credentials in requests that change them. It leaves all valid requests to kfake.
//
// It also makes kfake accept OAUTHBEARER tokens, which kfake does not support: saslControl checks
// the token and then authenticates the client by PLAIN, as tokenUser.
//
// kfake calls its methods one at a time, so it needs no lock.
type saslControl struct {
	cluster     *kfake.Cluster
	credentials map[string]credential // by user
	handshakes  map[string]string     // unfinished ones: client-first-message-bare by client nonce

	tokens            *TokenEndpoint // nil if the broker accepts no token
	tokenUserPassword string
}

// tokenUser is the user as which a client with a token is authenticated.
const tokenUser = "bearer"

// credential is what a SCRAM server stores of a password.
type credential struct{ salt, salted []byte }

func newSASLControl(tokens *TokenEndpoint) *saslControl {
	return &saslControl{
		credentials:       make(map[string]credential),
		handshakes:        make(map[string]string),
		tokens:            tokens,
		tokenUserPassword: rand.Text(),
	}
}

func (c *saslControl) install(cluster *kfake.Cluster) {
	c.cluster = cluster
	cluster.ControlKey(kmsg.AlterUserSCRAMCredentials.Int16(), c.recordCredentials)
	cluster.ControlKey(kmsg.SASLHandshake.Int16(), c.handshake)
	cluster.ControlKey(kmsg.SASLAuthenticate.Int16(), c.authenticate)
}

// recordCredentials records the credentials in a request that changes them.
func (c *saslControl) recordCredentials(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's order of results
	if change, ok := req.(*kmsg.AlterUserSCRAMCredentialsRequest); ok {
		for _, u := range change.Upsertions {
			c.credentials[u.Name] = credential{bytes.Clone(u.Salt), bytes.Clone(u.SaltedPassword)}
		}
	}
	return nil, nil, false
}

// handshake changes the mechanism OAUTHBEARER to PLAIN, which kfake supports.
func (c *saslControl) handshake(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's order of results
	if shake, ok := req.(*kmsg.SASLHandshakeRequest); ok && shake.Mechanism == "OAUTHBEARER" && c.tokens != nil {
		shake.Mechanism = "PLAIN"
	}
	return nil, nil, false
}

// authenticate answers a request whose credentials are wrong, and leaves any other request to kfake.
func (c *saslControl) authenticate(req kmsg.Request) (kmsg.Response, error, bool) { //nolint:revive // kfake's order of results
	auth, ok := req.(*kmsg.SASLAuthenticateRequest)
	if !ok {
		return nil, nil, false
	}
	mechanism := "SCRAM-SHA-512"
	if token, isToken := bearerToken(string(auth.SASLAuthBytes)); isToken {
		if mechanism = "OAUTHBEARER"; c.tokens != nil && c.tokens.accepts(token) {
			auth.SASLAuthBytes = []byte("\x00" + tokenUser + "\x00" + c.tokenUserPassword)
			return nil, nil, false
		}
	} else if len(c.credentials) == 0 || c.acceptsSCRAM(string(auth.SASLAuthBytes)) {
		return nil, nil, false
	}
	c.cluster.KeepControl()
	resp, ok := auth.ResponseKind().(*kmsg.SASLAuthenticateResponse)
	if !ok {
		return nil, nil, false
	}
	resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
	resp.ErrorMessage = new("Authentication failed during authentication due to invalid credentials with SASL mechanism " + mechanism)
	return resp, nil, true
}

// bearerToken returns the token in a client's first message of OAUTHBEARER (RFC 7628, section 3.1).
// ok is false if it is another message.
func bearerToken(message string) (token string, ok bool) {
	_, rest, ok := strings.Cut(message, "\x01auth=Bearer ")
	token, _, _ = strings.Cut(rest, "\x01")
	return token, ok
}

// acceptsSCRAM returns false if a SCRAM message (RFC 5802, section 7) must be rejected: a first
// message with an unknown user, or a final message with a wrong proof.
func (c *saslControl) acceptsSCRAM(message string) bool {
	if bare, first := strings.CutPrefix(message, "n,,"); first {
		user, nonce, _ := strings.Cut(strings.TrimPrefix(bare, "n="), ",r=")
		c.handshakes[nonce] = bare
		_, known := c.credentials[user]
		return known
	}
	withoutProof, proof, final := strings.Cut(message, ",p=")
	_, nonce, ok := strings.Cut(withoutProof, ",r=")
	if !final || !ok {
		return true // kfake decides, because this is not SCRAM
	}
	for clientNonce, bare := range c.handshakes {
		if strings.HasPrefix(nonce, clientNonce) {
			delete(c.handshakes, clientNonce)
			user, _, _ := strings.Cut(strings.TrimPrefix(bare, "n="), ",r=")
			return c.credentials[user].verify(bare, nonce, withoutProof, proof)
		}
	}
	return true
}

// verify reports whether proof is the ClientProof of RFC 5802, section 3.
func (c credential) verify(bare, nonce, withoutProof, proof string) bool {
	serverFirst := fmt.Sprintf("r=%s,s=%s,i=%d", nonce, base64.StdEncoding.EncodeToString(c.salt), scramIterations)
	clientKey := hmacSHA512(c.salted, "Client Key")
	storedKey := sha512.Sum512(clientKey)
	signature := hmacSHA512(storedKey[:], bare+","+serverFirst+","+withoutProof)
	want := make([]byte, len(clientKey))
	subtle.XORBytes(want, clientKey, signature)
	return hmac.Equal([]byte(base64.StdEncoding.EncodeToString(want)), []byte(proof))
}

func hmacSHA512(key []byte, text string) []byte {
	mac := hmac.New(sha512.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}
