package deadletter

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"genesys-fanout/event"
)

// Any bytes in a record's file are a record or a *DamagedError. A record that was read is written and
// read again as it is.
func FuzzReadRecord(f *testing.F) {
	whole, err := encode(newRecord("evt-1", "run-1"))
	require.NoError(f, err)
	base64 := newRecord("evt-1", "run-1")
	SetPayload(&base64, []byte("{\"a\":1,\"a\":2}\xff"))
	odd, err := encode(base64)
	require.NoError(f, err)
	for _, data := range [][]byte{whole, odd, whole[:len(whole)/2], nil, []byte("null"), []byte("[]"), []byte(`{"payload":null}`), []byte("\x00\x00")} {
		f.Add(data)
	}
	file := filepath.Join(f.TempDir(), FileName("compliance-service", "evt-1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		require.NoError(t, os.WriteFile(file, data, 0o600))
		read, err := readRecord(file)
		if err != nil {
			var damaged *DamagedError
			require.ErrorAs(t, err, &damaged)
			require.Equal(t, file, damaged.File)
			return
		}
		again, err := encode(read)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file, again, 0o600))
		reread, err := readRecord(file)
		require.NoError(t, err)
		require.Equal(t, read.Message(), reread.Message())
		read.Payload, reread.Payload = nil, nil // their spaces may differ
		require.Equal(t, read, reread)
	})
}

// Two deliveries never have the same file, and a file name never leaves the directory.
func FuzzFileName_IsInjective(f *testing.F) {
	f.Add("evt-1", "evt-2")
	f.Add("a/../b", "a%2F..%2Fb")
	f.Add("_x", ".x")
	f.Fuzz(func(t *testing.T, a, b string) {
		name := FileName("analytics", a)
		require.Equal(t, a == b, name == FileName("analytics", b))
		require.NotEqual(t, name, FileName(event.ConflictTarget, b))
		require.Equal(t, name, filepath.Base(name))
		require.LessOrEqual(t, len(name), 255)
		if target, ok := targetOfFile(name); !ok || target != "analytics" {
			t.Fatalf("the target of %s is %q", name, target)
		}
	})
}
