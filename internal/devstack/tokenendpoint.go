package devstack

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// TokenEndpoint is the token endpoint of an OpenID Connect provider with one client, for brokers
// with KafkaOptions.Tokens. Its tokens are not signed: Apache Kafka's default validator accepts
// unsigned tokens, so no key is needed.
type TokenEndpoint struct {
	*httpServer
	clientID string

	mu       sync.Mutex
	secret   string
	lifetime time.Duration
	issued   map[string]time.Time // from a token to its expiry
	calls    int
	scope    string // of the last request
}

const tokenEndpointPath = "/token"

// StartTokenEndpoint starts an endpoint whose tokens are valid for lifetime.
func StartTokenEndpoint(ctx context.Context, lifetime time.Duration) (*TokenEndpoint, error) {
	t := &TokenEndpoint{
		clientID: "ingest",
		secret:   rand.Text() + ",=", // characters that a generated secret may contain, and that KAFKA_OPTIONS must escape
		lifetime: lifetime,
		issued:   make(map[string]time.Time),
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+tokenEndpointPath, t.issue)
	var err error
	if t.httpServer, err = startHTTPServer(ctx, 0, mux); err != nil {
		return nil, err
	}
	return t, nil
}

// issue answers a request by client credentials (RFC 6749, section 4.4).
func (t *TokenEndpoint) issue(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	id, secret, _ := r.BasicAuth()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.calls++
	t.scope = r.PostFormValue("scope")
	if r.PostFormValue("grant_type") != "client_credentials" || !equal(id, t.clientID) || !equal(secret, t.secret) {
		writeJSON(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_description": "client not found or secret wrong"})
		return
	}
	now := time.Now()
	token := unsignedJWT(map[string]any{"sub": t.clientID, "iat": now.Unix(), "exp": now.Add(t.lifetime).Unix(), "jti": rand.Text()})
	t.issued[token] = now.Add(t.lifetime)
	writeJSON(w, http.StatusOK, map[string]any{"access_token": token, "token_type": "bearer", "expires_in": int(t.lifetime.Seconds())})
}

// unsignedJWT returns a JSON Web Token with the algorithm "none" (RFC 7519, section 6).
func unsignedJWT(claims map[string]any) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err) // impossible for strings and numbers
	}
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(payload) + "."
}

// accepts reports whether a token was issued here and has not expired.
func (t *TokenEndpoint) accepts(token string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return time.Now().Before(t.issued[token])
}

// Settings returns the settings, as NAME=value, of an ingest that gets its tokens here.
func (t *TokenEndpoint) Settings() []string {
	return []string{
		"KAFKA_SASL_MECHANISM=OAUTHBEARER", "KAFKA_SASL_USERNAME=", "KAFKA_SASL_PASSWORD=", "KAFKA_OPTIONS=" + t.Options(),
	}
}

// Options returns the value of KAFKA_OPTIONS among Settings. Commas in the secret are escaped.
func (t *TokenEndpoint) Options() string {
	var pairs []string
	for name, value := range t.LibrdkafkaSettings() {
		pairs = append(pairs, name+"="+strings.ReplaceAll(value, ",", `\,`))
	}
	return strings.Join(pairs, ",")
}

// LibrdkafkaSettings returns the settings of librdkafka by which a client gets its tokens here.
func (t *TokenEndpoint) LibrdkafkaSettings() map[string]string {
	return map[string]string{
		"sasl.oauthbearer.method":             "oidc",
		"sasl.oauthbearer.client.id":          t.clientID,
		"sasl.oauthbearer.client.secret":      t.Secret(),
		"sasl.oauthbearer.scope":              "kafka",
		"sasl.oauthbearer.token.endpoint.url": t.URL() + tokenEndpointPath,
	}
}

// Secret returns the client's current secret.
func (t *TokenEndpoint) Secret() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.secret
}

// SetSecret changes the client's secret. Tokens that were issued before stay valid.
func (t *TokenEndpoint) SetSecret(secret string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.secret = secret
}

// Calls returns the number of requests for a token.
func (t *TokenEndpoint) Calls() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.calls
}

// Scope returns the scope of the last request.
func (t *TokenEndpoint) Scope() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.scope
}
