package genesys

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	// refreshEarly is how long before its end a token is replaced.
	refreshEarly = 5 * time.Minute
	// assumedLifetime is that of a token whose answer has no expires_in: the
	// shortest that Genesys Cloud lets an OAuth client have.
	assumedLifetime = 5 * time.Minute
)

// cachedToken is a token and the time until which it is used.
type cachedToken struct {
	token *oauth2.Token
	until time.Time
}

// token gives the cached token, or waits for a refresh, which all callers
// share: its failure too, so that a refused client is asked once and not once
// per caller. fresh says that the token was issued during this call.
func (c *Client) token(ctx context.Context) (token *oauth2.Token, fresh bool, err error) {
	if token := c.current(); token != nil {
		return token, false, nil
	}
	// The refresh outlives the caller who began it, since others may wait for
	// it; exchange bounds it.
	detached := context.WithoutCancel(ctx)
	shared := c.flight.DoChan("token", func() (any, error) {
		if token := c.current(); token != nil {
			return token, nil
		}
		return c.refresh(detached)
	})
	select {
	case <-ctx.Done():
		return nil, false, fmt.Errorf("genesys: %s: %w", requestName(http.MethodPost, c.urls.token), context.Cause(ctx))
	case result := <-shared:
		if result.Err != nil {
			return nil, false, result.Err
		}
		return result.Val.(*oauth2.Token), true, nil
	}
}

// current is the cached token while it is to be used, nil afterwards.
func (c *Client) current() *oauth2.Token {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cached.token == nil || !time.Now().Before(c.cached.until) {
		return nil
	}
	return c.cached.token
}

// forget drops a token that was refused, unless a newer one has replaced it.
func (c *Client) forget(token *oauth2.Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cached.token == token {
		c.cached = cachedToken{}
	}
}

// refresh asks for a token and caches it.
func (c *Client) refresh(ctx context.Context) (*oauth2.Token, error) {
	request := requestName(http.MethodPost, c.urls.token)
	var token *oauth2.Token
	var tokenErr error
	ask := question{request: request, setting: c.urls.tokenSetting, clean: c.redactor()}
	got, err := c.exchange(ctx, ask, func(ctx context.Context, hc *http.Client) error {
		token, tokenErr = c.caller.Token(ctx, hc, c.urls.token.String())
		return tokenErr
	})
	if err != nil {
		return nil, err
	}
	if err := c.judgeToken(got, request, tokenErr); err != nil {
		return nil, err
	}
	until := usedUntil(time.Now(), token.Expiry)
	c.mu.Lock()
	c.cached = cachedToken{token: token, until: until}
	c.lastToken = token.AccessToken
	c.mu.Unlock()
	c.log.DebugContext(ctx, "Genesys issued a token", "used_until", until)
	return token, nil
}

// usedUntil is five minutes before the token's end, or half its life where
// that is ten minutes or less.
func usedUntil(now, expiry time.Time) time.Time {
	lifetime := assumedLifetime
	if !expiry.IsZero() {
		lifetime = expiry.Sub(now)
	}
	return now.Add(max(lifetime/2, lifetime-refreshEarly))
}

// judgeToken says whether the answer of the token endpoint holds a token that
// can be used. parsed is the Caller's verdict on the body.
func (c *Client) judgeToken(got *answer, request string, parsed error) error {
	texts := got.texts()
	clean := c.redactor()
	if got.passes() {
		return got.temporary(request, clean)
	}
	refusal := got.refusal(request, clean)
	refusal.Cure = tokenCure(got.status, texts["error"])
	if !got.ok() {
		return refusal
	}
	fault := tokenFault(got, texts, parsed)
	if fault == "" {
		return nil
	}
	if refusal.Message == "" {
		refusal.Message = fault
	}
	return refusal
}

// tokenFault names what a granted answer lacks; empty when it lacks nothing.
func tokenFault(got *answer, texts map[string]string, parsed error) string {
	switch {
	case got.overlong:
		return "the answer is longer than 1 MiB"
	case texts == nil:
		return "the answer is not a JSON object"
	case texts["error"] != "":
		return "the answer holds an error"
	case texts["access_token"] == "":
		return "the answer has no text access_token"
	case strings.ContainsFunc(texts["access_token"], func(c rune) bool { return c <= ' ' || c > '~' }):
		return "access_token holds a character that no header can carry"
	case parsed != nil:
		return "token_type or expires_in is of the wrong type"
	}
	return ""
}

// tokenCure names the settings that a refused token request depends on.
func tokenCure(status int, code string) string {
	switch {
	case code == "invalid_scope":
		return "unset or correct GENESYS_OAUTH_SCOPE"
	case status == http.StatusBadRequest, status == http.StatusUnauthorized, status == http.StatusForbidden:
		return "check GENESYS_CLIENT_ID, GENESYS_CLIENT_SECRET (a client with the Client Credentials grant) and that GENESYS_API_URL is of its region"
	}
	return "check GENESYS_TOKEN_URL, or GENESYS_API_URL where that is not set"
}
