package process

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseDuration_AcceptsWholeDays(t *testing.T) {
	for value, want := range map[string]time.Duration{
		"90d": 90 * 24 * time.Hour, "1d12h": 36 * time.Hour, "1d1h1m1s": 25*time.Hour + time.Minute + time.Second,
		"24h": 24 * time.Hour, "90m": 90 * time.Minute, "0d": 0, "1d0s": 24 * time.Hour,
	} {
		got, err := ParseDuration(value)
		require.NoError(t, err, value)
		assert.Equal(t, want, got, value)
	}
	for _, value := range []string{"", "d", "90", "1dd", "1d2d", "xd", "1d x", "NaNd", "Infd", "1e9d", "-1d", "0.5d", "1d-1h", "50001d", "106751d24h", "1w", "106751d2400000h"} {
		got, err := ParseDuration(value)
		require.Error(t, err, "%s is %s", value, got)
	}
}
