package event

// Body is a message as it was received. As JSON it is a string where that is
// exact and short, so that people can read it in Temporal UI, and otherwise
// {"base64": "…"}.
type Body []byte
