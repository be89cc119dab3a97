package process

import (
	"fmt"
	"io"
	"log/slog"

	"genesys-fanout/internal/redact"
	"genesys-fanout/internal/setting"
)

// Secret is a value that no log, error or format verb shows. Only Reveal returns it.
type Secret struct{ value string }

// NewSecret returns a Secret with the value.
func NewSecret(value string) Secret { return Secret{value: value} }

// Reveal returns the value itself. Pass it to nothing but the library that needs it.
func (s Secret) Reveal() string { return s.value }

// IsSet reports whether the value is not empty.
func (s Secret) IsSet() bool { return s.value != "" }

// String returns redact.Marker, or an empty string if the value is empty.
func (s Secret) String() string {
	if s.value == "" {
		return ""
	}
	return redact.Marker
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return s.String() }

// Format hides the value from every verb. Without it, fmt would show the value in its error
// text about a verb that does not fit a string.
func (s Secret) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, s.String()) }

// LogValue hides the value from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText hides the value from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Secret reads the variable NAME, or the file that the variable NAME_FILE names, as
// setting.Secret does. If neither variable is set, the Secret is not set. The error is a
// *Problem.
func (e Env) Secret(name string) (Secret, error) {
	value, _, err := setting.Secret(name, e.LookupEnv)
	return NewSecret(value), err
}
