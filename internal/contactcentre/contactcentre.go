// Package contactcentre makes up the events of a contact centre: conversations
// on several channels, each with its events in order, in the shapes in which
// Genesys Cloud publishes them.
//
// The package refuses to surprise: the same seed gives the same events.
package contactcentre

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
)

// Event is one message as it stands on the topic.
type Event struct {
	ID             string
	ConversationID string // the key, so that a conversation stays on one partition
	Message        []byte
}

// Centre makes events. It is not safe for concurrent use.
type Centre struct {
	random *rand.Rand
	now    time.Time
	open   []*conversation
}

type conversation struct {
	id, media string
	left      []string
}

// course is what happens to a conversation, as the endings of its topics.
var course = []string{"customer.start", "flow.start", "flow.end", "acd.start", "acd.end", "user.start", "attributes", "user.end", "acw", "wrapup", "customer.end"}

var media = []string{"VOICE", "VOICE", "VOICE", "MESSAGE", "CHAT", "EMAIL", "CALLBACK"}

// concurrent conversations are open at a time, so that their events mix.
const concurrent = 8

// New makes a contact centre whose first event happens at now.
func New(seed uint64, now time.Time) *Centre {
	return &Centre{random: rand.New(rand.NewPCG(seed, seed)), now: now.UTC()}
}

// Next is the next event of the contact centre.
func (c *Centre) Next() Event {
	for len(c.open) < concurrent {
		c.open = append(c.open, &conversation{id: c.uuid(), media: media[c.random.IntN(len(media))], left: course})
	}
	i := c.random.IntN(len(c.open))
	talk := c.open[i]
	kind := talk.left[0]
	if talk.left = talk.left[1:]; len(talk.left) == 0 {
		c.open = append(c.open[:i], c.open[i+1:]...)
	}
	c.now = c.now.Add(time.Duration(c.random.ExpFloat64() * float64(200*time.Millisecond)))
	id := c.uuid()
	return Event{ID: id, ConversationID: talk.id, Message: c.message(id, talk, kind)}
}

// message is mostly an envelope, now and then a flat event or an envelope that
// came through a queue.
func (c *Centre) message(id string, talk *conversation, kind string) []byte {
	switch c.random.IntN(10) {
	case 0:
		return encode(map[string]any{
			"event_id": id, "event_type": "conversation." + kind, "timestamp": c.now.Format(time.RFC3339),
			"interaction": map[string]string{"id": talk.id, "channel_type": talk.media, "status": kind},
		})
	case 1:
		return encode(map[string]string{"messageId": c.uuid(), "body": string(c.envelope(id, talk, kind))})
	}
	return c.envelope(id, talk, kind)
}

func (c *Centre) envelope(id string, talk *conversation, kind string) []byte {
	const topic = "v2.detail.events.conversation.%s.%s"
	return encode(map[string]any{
		"version": "0", "id": id, "detail-type": fmt.Sprintf(topic, "{id}", kind),
		"source":  "aws.partner/genesys.com/cloud/7c9e6679-7425-40de-944b-e07fc1f90ae7/fanout",
		"account": "123456789012", "time": c.now.Format(time.RFC3339), "region": "eu-central-1", "resources": []string{},
		"detail": map[string]any{
			"topicName": fmt.Sprintf(topic, talk.id, kind), "version": "2", "timestamp": c.now.Format("2006-01-02T15:04:05.000Z"),
			"eventBody": map[string]any{
				"eventTime": c.now.UnixMilli(), "conversationId": talk.id, "participantId": c.uuid(), "sessionId": c.uuid(),
				"mediaType": talk.media, "provider": "Edge", "direction": "INBOUND",
			},
			"metadata": map[string]string{"CorrelationId": c.uuid()},
		},
	})
}

func encode(value any) []byte {
	message, err := json.Marshal(value)
	if err != nil { // only strings and numbers
		return nil
	}
	return message
}

// uuid is random by the seed.
func (c *Centre) uuid() string {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(c.random.IntN(256))
	}
	id[6], id[8] = id[6]&0x0F|0x40, id[8]&0x3F|0x80 // version 4, RFC 9562
	return id.String()
}
