"""MLflow's side of doctune: runs, registered versions and the models that ship, each found by the hash of its content.

    store = connect()                                        # MLFLOW_TRACKING_URI, or mlruns/mlflow.db of this project
    with training_run(store, train_key, params) as run:      # tasks.train
        run.log({"loss": 2.31, "learning_rate": 3e-4}, step=20)
    version = ensure_version(store, register_params, files)  # tasks.register; alias challenger
    version = ensure_shipped(store, register_params, files)  # tasks.export; tag shipped_model
    reconcile(store, register_params, files)                 # after a cache hit: [] when MLflow still has all of it
    move(store, "doctune", "4", expected="3", how="passed")  # alias champion; doctune.promotion decides whether
    folder = fetch(store, shipped_uri(store, "doctune", "champion"))
    story(store, "doctune", list_versions(store, "doctune"), "4")    # where it came from, what changed (listing.py)

`api` gathers what register, export and front ends use; a stage that needs one part imports that part, so that a change
elsewhere does not make it stale.
Nothing here goes into a DVC out. Every function that writes can be called again: it repairs what is missing and leaves
the rest. Only this package and doctune.pyfunc know MLflow; it is imported when `connect` is called.
"""
