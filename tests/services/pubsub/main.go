// The Pub/Sub of the tests: the state of Google's own fake behind a gRPC server that keeps the service's limits, checks
// who asks, and fails on demand.
//
// Over HTTP at -control:
//
//	POST /faults     [{"method": "/google.pubsub.v1.Publisher/Publish", "code": "UNAVAILABLE", "times": 1}, …] adds
//	                 faults; one with "topic" (projects/…) is met by requests to publish there only, one with "id" by
//	                 those that hold a message with that attribute `event-id`; one with "delay_ms" waits first, and
//	                 without "code" goes on after that
//	DELETE /faults   ends them all
//	POST /topics     {"topic": "projects/…", "subscription": "projects/…"} makes both; the subscription is ordered
//	GET /publishes   all requests to publish since the start, oldest first: topic, the messages' attributes `event-id`
//	                 in order, ordering keys, and the status code
package main

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// https://cloud.google.com/pubsub/quotas#resource_limits
const (
	requestMax    = 10_000_000
	messagesMax   = 1000
	attributesMax = 100
	nameMax       = 256
	valueMax      = 1024
	orderingMax   = 1024
)

type fault struct {
	Method  string      `json:"method"`
	Code    *codes.Code `json:"code"`
	Times   int         `json:"times"`
	Topic   string      `json:"topic"`
	ID      string      `json:"id"`
	DelayMS int         `json:"delay_ms"`
}

type publish struct {
	Topic string   `json:"topic"`
	IDs   []string `json:"ids"`
	Keys  []string `json:"keys"`
	Code  string   `json:"code"`
}

type server struct {
	// Whose tokens are accepted; nil: nobody is asked for one.
	key       *rsa.PublicKey
	fake      *pstest.Server
	mu        sync.Mutex
	faults    []fault
	publishes []publish
}

// hit takes the fault that this request meets.
func (s *server) hit(method string, req any) (fault, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.faults {
		f := &s.faults[k]
		if f.Method == method && f.Times > 0 && f.meets(req) {
			f.Times--
			return *f, true
		}
	}
	return fault{}, false
}

func (f *fault) meets(req any) bool {
	if f.Topic == "" && f.ID == "" {
		return true
	}
	p, ok := req.(*pubsubpb.PublishRequest)
	if !ok || (f.Topic != "" && p.Topic != f.Topic) {
		return false
	}
	for _, m := range p.Messages {
		if f.ID == "" || m.Attributes["event-id"] == f.ID {
			return true
		}
	}
	return false
}

func (s *server) intercept(ctx context.Context, req any, i *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	answer, err := s.answer(ctx, req, i, h)
	if p, ok := req.(*pubsubpb.PublishRequest); ok {
		seen := publish{Topic: p.Topic, IDs: []string{}, Keys: []string{}, Code: status.Code(err).String()}
		for _, m := range p.Messages {
			seen.IDs = append(seen.IDs, m.Attributes["event-id"])
			seen.Keys = append(seen.Keys, m.OrderingKey)
		}
		s.mu.Lock()
		s.publishes = append(s.publishes, seen)
		s.mu.Unlock()
	}
	return answer, err
}

func (s *server) answer(ctx context.Context, req any, i *grpc.UnaryServerInfo, h grpc.UnaryHandler) (any, error) {
	if f, ok := s.hit(i.FullMethod, req); ok {
		select {
		case <-time.After(time.Duration(f.DelayMS) * time.Millisecond):
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
		if f.Code != nil {
			return nil, status.Error(*f.Code, "injected")
		}
	}
	p, ok := req.(*pubsubpb.PublishRequest)
	if !ok {
		return h(ctx, req)
	}
	if err := s.authorized(ctx); err != nil {
		return nil, status.Error(codes.Unauthenticated, err.Error())
	}
	if err := limits(p); err != nil {
		return nil, err
	}
	return h(ctx, req)
}

func limits(p *pubsubpb.PublishRequest) error {
	wrong := func(what string) error { return status.Error(codes.InvalidArgument, what) }
	if len(p.Messages) == 0 || len(p.Messages) > messagesMax {
		return wrong("not 1 to 1000 messages")
	}
	for _, m := range p.Messages {
		if len(m.Data) == 0 && len(m.Attributes) == 0 {
			return wrong("empty message")
		}
		if len(m.Attributes) > attributesMax || len(m.OrderingKey) > orderingMax {
			return wrong("too many attributes, or too long an ordering key")
		}
		for name, value := range m.Attributes {
			if name == "" || len(name) > nameMax || len(value) > valueMax || strings.HasPrefix(name, "goog") {
				return wrong("an attribute that is not allowed")
			}
		}
	}
	return nil
}

// authorized checks the signature and times of a self-signed token, as Google does with those of service accounts.
func (s *server) authorized(ctx context.Context) error {
	if s.key == nil {
		return nil
	}
	md, _ := metadata.FromIncomingContext(ctx)
	token := strings.TrimPrefix(strings.Join(md["authorization"], ""), "Bearer ")
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errors.New("no token")
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(s.key, crypto.SHA256, sum[:], signature); err != nil {
		return err
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	var claims struct {
		Exp   int64  `json:"exp"`
		Scope string `json:"scope"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return err
	}
	if time.Now().Unix() > claims.Exp {
		return errors.New("expired token")
	}
	if !strings.Contains(claims.Scope, "https://www.googleapis.com/auth/") {
		return errors.New("token without scope")
	}
	return nil
}

func (s *server) control(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch r.Method + " " + r.URL.Path {
	case "POST /faults":
		var more []fault
		if err := json.NewDecoder(r.Body).Decode(&more); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
		s.faults = append(s.faults, more...)
	case "POST /topics":
		if err := s.makeTopic(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	case "DELETE /faults":
		s.faults = nil
	case "GET /publishes":
		if err := json.NewEncoder(w).Encode(s.publishes); err != nil {
			log.Print(err)
		}
	default:
		http.NotFound(w, r)
	}
}

func (s *server) makeTopic(r *http.Request) error {
	var wanted struct{ Topic, Subscription string }
	if err := json.NewDecoder(r.Body).Decode(&wanted); err != nil {
		return err
	}
	topic := &pubsubpb.Topic{Name: wanted.Topic}
	if _, err := s.fake.GServer.CreateTopic(r.Context(), topic); err != nil {
		return err
	}
	_, err := s.fake.GServer.CreateSubscription(r.Context(), &pubsubpb.Subscription{
		Name:                  wanted.Subscription,
		Topic:                 wanted.Topic,
		AckDeadlineSeconds:    600,
		EnableMessageOrdering: true,
	})
	return err
}

func publicKey(file string) *rsa.PublicKey {
	text, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		log.Fatalf("%s: not PEM", file)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		log.Fatal(err)
	}
	return key.(*rsa.PublicKey)
}

func main() {
	address := flag.String("grpc", "127.0.0.1:0", "where Pub/Sub is served")
	control := flag.String("control", "127.0.0.1:0", "where faults are set")
	key := flag.String("public-key", "", "PEM file: publishing needs a token signed with its private key")
	facts := flag.String("facts", "", "file that is written once both are served")
	flag.Parse()
	fake := pstest.NewServer() // Only its state is used; its own listener stays on loopback.
	s := &server{fake: fake, publishes: []publish{}}
	if *key != "" {
		s.key = publicKey(*key)
	}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(requestMax), grpc.UnaryInterceptor(s.intercept))
	pubsubpb.RegisterPublisherServer(g, &fake.GServer)
	pubsubpb.RegisterSubscriberServer(g, &fake.GServer)
	rpc, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatal(err)
	}
	web, err := net.Listen("tcp", *control)
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(web, http.HandlerFunc(s.control))) }()
	if *facts != "" {
		line := "endpoint=" + rpc.Addr().String() + " control=" + web.Addr().String() + "\n"
		// Renamed into place: whoever waits for it reads all of it.
		if err := os.WriteFile(*facts+".new", []byte(line), 0o600); err != nil {
			log.Fatal(err)
		}
		if err := os.Rename(*facts+".new", *facts); err != nil {
			log.Fatal(err)
		}
	}
	log.Fatal(g.Serve(rpc))
}
