using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .worker),
    (name = "origin", external = (address = "127.0.0.1:@origin@", http = ())),
  ],
  sockets = [(name = "http", address = "127.0.0.1:@port@", http = (), service = "main")],
);
const worker :Workerd.Worker = (
  modules = [@modules@],
  bindings = [(name = "origin", service = "origin")],
  compatibilityDate = "2024-09-23",
);
