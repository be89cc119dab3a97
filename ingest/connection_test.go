package ingest

import (
	"testing"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"
	"github.com/stretchr/testify/assert"
)

// librdkafka may quote its settings.
func TestConnection_RedactsItsSecrets(t *testing.T) {
	c := Connection{SASLPassword: "hush-1", Extra: map[string]string{
		"sasl.oauthbearer.client.secret": "hush-2", "ssl.key.password": "hush-3", "ssl.key.pem": "hush-4",
		"sasl.oauthbearer.assertion.private.key.passphrase": "hush-5", "client.rack": "rack", "ssl.keystore.password": "",
	}}
	text := c.redactor().String("hush-1 hush-2 hush-3 hush-4 hush-5 rack")
	assert.Equal(t, "[redacted] [redacted] [redacted] [redacted] [redacted] rack", text)
	err := c.RedactError(kafka.NewError(kafka.ErrAuthentication, "no hush-1", false))
	assert.EqualError(t, err, "no [redacted]")
	assert.True(t, IsAuthenticationError(err))
	assert.NoError(t, c.RedactError(nil))
}
